/** What the browser measures of a connection, once a second. */

/**
 * @typedef {{fps?: number, lossPercent?: number, roundTripMs?: number, soundBufferMs?: number, pictureBufferMs?: number,
 *   skewMs?: number, downKbps?: number, upKbps?: number, dropped?: number, freezes?: number, codec?: string,
 *   width?: number, height?: number, audioCodec?: string}} Sample
 */

/** Fields of RTCStats that differ between kinds; read with care and only here. @typedef {Record<string, any>} Report */

export class Sampler {
  constructor() {
    /** @type {{pc: RTCPeerConnection, atMs: number, video: Report, audio: Report, sent: number} | undefined} */
    this._before = undefined;
  }

  /**
   * @param {RTCPeerConnection} pc
   * @returns {Promise<Sample>}  Rates are over the time since the last call; a value nobody knows is missing.
   */
  async take(pc) {
    const reports = new Map(/** @type {any} */ (await pc.getStats()));
    /** @type {Report[]} */
    const all = [...reports.values()];
    const inbound = (/** @type {string} */ kind) => all.find((r) => r.type === "inbound-rtp" && r.kind === kind) ?? {};
    const video = inbound("video");
    const audio = inbound("audio");
    const outbound = all.find((r) => r.type === "outbound-rtp" && r.kind === "audio") ?? {};
    const transport = all.find((r) => r.type === "transport") ?? {};
    const pair = reports.get(transport.selectedCandidatePairId) ?? all.find((r) => r.type === "candidate-pair" && r.nominated) ?? {};
    const now = { pc, atMs: performance.now(), video, audio, sent: outbound.bytesSent ?? 0 };
    const before = this._before?.pc === pc ? this._before : undefined;
    this._before = now;
    const seconds = before ? (now.atMs - before.atMs) / 1000 : 0;
    const since = (/** @type {"video" | "audio"} */ kind, /** @type {string} */ name) =>
      before && now[kind][name] !== undefined ? now[kind][name] - (before[kind][name] ?? 0) : undefined;
    const bytes = (since("video", "bytesReceived") ?? 0) + (since("audio", "bytesReceived") ?? 0);
    return {
      fps: rate(since("video", "framesDecoded"), seconds),
      lossPercent: loss(since, "video", "audio"),
      roundTripMs: pair.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
      soundBufferMs: buffer(since, "audio"),
      pictureBufferMs: buffer(since, "video"),
      skewMs: skew(audio, video),
      downKbps: before ? (bytes * 8) / 1000 / seconds : undefined,
      upKbps: before ? ((now.sent - before.sent) * 8) / 1000 / seconds : undefined,
      dropped: video.framesDropped,
      freezes: video.freezeCount,
      codec: reports.get(video.codecId)?.mimeType?.replace("video/", ""),
      width: video.frameWidth,
      height: video.frameHeight,
      audioCodec: reports.get(audio.codecId)?.mimeType?.replace("audio/", ""),
    };
  }
}

/** @param {number | undefined} count @param {number} seconds */
function rate(count, seconds) {
  return count === undefined || seconds === 0 ? undefined : count / seconds;
}

/**
 * The mean time that what was played since the last call had waited.
 * @param {(kind: any, name: string) => number | undefined} since
 * @param {string} kind
 */
function buffer(since, kind) {
  const count = since(kind, "jitterBufferEmittedCount");
  return count ? ((since(kind, "jitterBufferDelay") ?? 0) / count) * 1000 : undefined;
}

/**
 * @param {(kind: any, name: string) => number | undefined} since
 * @param {...string} kinds
 */
function loss(since, ...kinds) {
  let lost = 0;
  let received = 0;
  for (const kind of kinds) {
    lost += since(kind, "packetsLost") ?? 0;
    received += since(kind, "packetsReceived") ?? 0;
  }
  return lost + received > 0 ? (100 * Math.max(0, lost)) / (lost + received) : undefined;
}

/**
 * How far the sound that is heard now is ahead of the picture that is seen now, on the sender's clock.
 * @param {Report} audio @param {Report} video
 */
function skew(audio, video) {
  const [heard, seen] = [audio.estimatedPlayoutTimestamp, video.estimatedPlayoutTimestamp];
  return heard && seen ? heard - seen : undefined;
}
