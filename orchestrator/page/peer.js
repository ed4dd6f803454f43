/** The RTCPeerConnection of one conversation: our voice out, one face and its voice in. */

/** @typedef {import("./types.js").Config} Config */

export class Peer {
  /**
   * @param {Config} config
   * @param {MediaStreamTrack | undefined} voice  The microphone; without it nothing is sent.
   * @param {{send: (type: string, data: object) => void,
   *   onState: (state: RTCPeerConnectionState) => void}} handlers
   */
  constructor(config, voice, handlers) {
    this.pc = new RTCPeerConnection({ iceServers: config.iceServers ?? [], bundlePolicy: "max-bundle" });
    /** Sound and picture in one stream, so that the browser keeps them together. */
    this.stream = new MediaStream();
    this._send = handlers.send;
    this._turnUrls = (config.iceServers ?? []).flatMap(({ urls }) => urls).filter((url) => /^turns?:/.test(url));
    /** TURN servers that gave an address, and those that refused to. @type {{used: string[], refused: string[]}} */
    this._relays = { used: [], refused: [] };
    /** @type {RTCIceCandidateInit[] | undefined} */
    this._early = [];
    if (voice) this.pc.addTransceiver(voice, { direction: "sendrecv", streams: [new MediaStream([voice])] });
    else this.pc.addTransceiver("audio", { direction: "recvonly" });
    prefer(this.pc.addTransceiver("video", { direction: "recvonly" }), config.videoCodec ?? "");
    this.pc.addEventListener("track", (event) => this.stream.addTrack(event.track));
    this.pc.addEventListener("connectionstatechange", () => handlers.onState(this.pc.connectionState));
    this.pc.addEventListener("icecandidate", ({ candidate }) => {
      // The type checker's library lags behind the standard.
      const { url = this._turnUrls[0] } = /** @type {{url?: string}} */ (candidate ?? {});
      if (candidate?.type === "relay") this._relays.used.push(url);
      if (candidate?.candidate) this._trickle(candidate.toJSON());
    });
    this.pc.addEventListener("icecandidateerror", ({ url, errorCode }) => {
      // From 300 to 699 it is the server's own answer (RFC 8489); 701 is the browser's word for none.
      if (/^turns?:/.test(url) && errorCode < 700) this._relays.refused.push(url);
    });
  }

  /**
   * What the TURN servers did, for words about a failure.
   * @returns {{outcome: "none" | "used" | "refused" | "silent", url: string}}  The best of what any of them did.
   */
  relay() {
    const { used, refused } = this._relays;
    if (used.length) return { outcome: "used", url: used[0] };
    if (refused.length) return { outcome: "refused", url: refused[0] };
    return this._turnUrls.length ? { outcome: "silent", url: this._turnUrls[0] } : { outcome: "none", url: "" };
  }

  /** Makes the offer and sends it, then the candidates that came meanwhile. */
  async offer() {
    await this.pc.setLocalDescription();
    const { type, sdp } = /** @type {RTCSessionDescription} */ (this.pc.localDescription);
    this._send("offer", { type, sdp });
    const early = this._early ?? [];
    this._early = undefined;
    for (const candidate of early) this._trickle(candidate);
  }

  /** @param {RTCSessionDescriptionInit} description */
  async answer(description) {
    await this.pc.setRemoteDescription(description);
  }

  /** @param {RTCIceCandidateInit} candidate */
  async candidate(candidate) {
    await this.pc.addIceCandidate(candidate);
  }

  close() {
    this.pc.close();
  }

  /** @param {RTCIceCandidateInit} candidate */
  _trickle({ candidate, sdpMid, sdpMLineIndex }) {
    if (this._early) this._early.push({ candidate, sdpMid, sdpMLineIndex });
    else this._send("ice-candidate", { candidate, sdpMid, sdpMLineIndex });
  }
}

/**
 * Puts the server's codec first; the others stay, so that a browser without it still gets a picture.
 * @param {RTCRtpTransceiver} transceiver
 * @param {string} codec  "H264" or "VP8"; empty leaves the browser's order.
 */
function prefer(transceiver, codec) {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec.toLowerCase()}`);
  if (wanted.length === 0 || !transceiver.setCodecPreferences) return;
  transceiver.setCodecPreferences([...wanted, ...codecs.filter((other) => !wanted.includes(other))]);
}
