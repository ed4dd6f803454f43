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
    /** @type {RTCIceCandidateInit[] | undefined} */
    this._early = [];
    if (voice) this.pc.addTransceiver(voice, { direction: "sendrecv", streams: [new MediaStream([voice])] });
    else this.pc.addTransceiver("audio", { direction: "recvonly" });
    prefer(this.pc.addTransceiver("video", { direction: "recvonly" }), config.videoCodec ?? "");
    this.pc.addEventListener("track", (event) => this.stream.addTrack(event.track));
    this.pc.addEventListener("connectionstatechange", () => handlers.onState(this.pc.connectionState));
    this.pc.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.candidate) this._trickle(candidate.toJSON());
    });
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
