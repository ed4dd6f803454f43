/** Every sentence that the page says by itself, and how it writes numbers. */

export const WORDS = {
  connecting: { title: "Connecting", words: "The face is on its way." },
  lost: "Connection lost",
  offline: "You are offline. The conversation goes on when the network is back.",
  retryNow: "Try now",
  gaveUp: "The connection could not be made again. Please look at your network and start anew.",
  unstable: "The connection is weak: sound and picture may stop for a moment.",
  mending: "Sound and picture stopped. Connecting them anew.",
  unreachable: "The server does not answer. Please check that it runs, then try again.",
  full: "The server is full: every place is taken just now. Please try again in a minute.",
  ended: "The conversation is over.",
  noAudioOut: "Your browser holds the sound back.",
  soundOn: "Turn the sound on",
  micGone: "The microphone is gone. Plug it in and press the microphone button, or type.",
  micRestart: "Starting again with your microphone.",
  emptyWithMic: "Say something, or type below. What is said appears here.",
  emptyWithoutMic: "Type below. What is said appears here.",
  faceChanged: "The face has changed.",
  noFaces: "The faces could not be loaded",
  noVoices: "Only the default voice: the list could not be loaded",
  newSession: "Connected again; a new conversation began here.",
  leftPage: "You left the page, so the conversation ended.",
};

/** What is missing while a service is away, where the server sends no sentence of its own. */
export const MISSING = {
  stt: "Speech recognition is away for the moment. You can type meanwhile.",
  tts: "The voice is away for the moment. Answers come as text.",
  render: "The face stands still for the moment. You still hear it.",
};

/** @type {Record<string, string>} */
export const BACK = {
  stt: "Speech recognition is back.",
  tts: "The voice is back.",
  render: "The face moves again.",
};

/** @type {Record<string, {mark: string, words: string}>} */
export const TURNS = {
  TURN_STATE_LISTENING: { mark: "listening", words: "Listening" },
  TURN_STATE_USER_SPEAKING: { mark: "user", words: "Hearing you" },
  TURN_STATE_THINKING: { mark: "thinking", words: "Thinking" },
  TURN_STATE_AVATAR_SPEAKING: { mark: "avatar", words: "Speaking" },
  TURN_STATE_DUCKED: { mark: "user", words: "Hearing you" },
};

/**
 * Why the microphone cannot be used, and what to do.
 * @param {unknown} error  What getUserMedia threw.
 * @returns {string}
 */
export function microphoneWords(error) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  switch (name) {
    case "InsecureContextError":
      return `Browsers give the microphone to secure pages only. Open this page by https:// or on the machine itself (localhost); this is ${location.origin}. You can type meanwhile.`;
    case "NotAllowedError":
    case "SecurityError":
      return "The microphone was not allowed. Allow it beside the address of the page and press the button again, or continue without it and type.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in and press the button again, or continue without it and type.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone is there but gives no sound: another program may be using it. Close that one and press the button again, or continue without it and type.";
    default:
      return "This browser gives no microphone. You can continue without it and type.";
  }
}

/**
 * A refusal of the server, where its body has no sentence.
 * @param {number} status  HTTP status; 0 when nothing answered.
 */
export function httpWords(status) {
  switch (status) {
    case 0:
      return "The server does not answer. Please check your network.";
    case 401:
    case 403:
      return "The server does not allow this without signing in.";
    case 404:
      return "The server does not know this.";
    case 408:
    case 504:
      return "The server took too long. Please try again.";
    case 413:
      return "The file is too large for the server; at most 20 MiB.";
    case 429:
      return "Too many requests just now. Please wait a moment and try again.";
    case 503:
      return "This part of the server is still starting or is away. Please try again in a moment.";
    default:
      return `The server could not do this (HTTP ${status}).`;
  }
}

/**
 * Why sound and picture do not get through although the server answers, and what to do.
 * @param {{outcome: "none" | "used" | "refused" | "silent", url: string}} relay  What the TURN servers did.
 */
export function mediaWords({ outcome, url }) {
  const trouble = "The server answers, but sound and picture do not get through.";
  const open = "open the server's UDP ports (udp_port_min to udp_port_max) in its firewall";
  switch (outcome) {
    case "none":
      return `${trouble} Something on the way blocks UDP: ${open}, or set a TURN server (turn_urls).`;
    case "used":
      return `${trouble} The TURN server ${url} cannot reach the server either: ${open}.`;
    case "refused":
      return `${trouble} The TURN server ${url} refused this conversation: turn_secret must be its static-auth-secret, and both clocks must agree.`;
    case "silent":
      return `${trouble} The TURN server ${url} does not answer this browser: is it running, and are its ports open?`;
  }
}

/**
 * @param {number} attempt  From 1.
 * @param {number} delayS
 */
export function retryWords(attempt, delayS) {
  const when = delayS < 1.5 ? "in a second" : `in ${Math.round(delayS)} seconds`;
  return attempt === 1 ? `Trying again ${when}.` : `Trying again ${when} (attempt ${attempt}).`;
}

/**
 * How well a portrait fits, from the detector's score.
 * @param {number} score  0 to 1.
 */
export function verdictWords(score) {
  if (score >= 0.8) return "A face was found.";
  return score >= 0.6 ? "A face was found, though it is not a clear one." : "Something like a face was found. Please look at the marks.";
}

/**
 * Milliseconds of a protobuf duration such as "1.250s"; undefined when it is unset.
 * @param {string | undefined} duration
 */
export function milliseconds(duration) {
  if (duration === undefined) return undefined;
  const seconds = Number.parseFloat(duration);
  return Number.isFinite(seconds) ? seconds * 1000 : undefined;
}

/** @param {number | undefined} ms */
export function msWords(ms) {
  return ms === undefined ? "–" : `${Math.round(ms).toLocaleString("en")} ms`;
}

/**
 * Sound against picture.
 * @param {number | undefined} skewMs  Positive: the sound is ahead of the picture.
 */
export function skewWords(skewMs) {
  if (skewMs === undefined) return "–";
  const rounded = Math.round(skewMs);
  if (rounded === 0) return "0 ms";
  return rounded > 0 ? `sound ${rounded} ms early` : `sound ${-rounded} ms late`;
}

/**
 * The names of languages in English. What the browser cannot name is its code, and two that share a name carry theirs.
 * @param {string[]} codes  BCP-47 tags.
 * @returns {Map<string, string>}
 */
export function languageNames(codes) {
  const known = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });
  const names = new Map(codes.map((code) => [code, named(known, code)]));
  const times = (/** @type {string} */ name) => [...names.values()].filter((other) => other === name).length;
  return new Map(codes.map((code) => {
    const name = names.get(code);
    if (name === undefined) return [code, code];
    return [code, times(name) > 1 ? `${name} (${code})` : name];
  }));
}

/** @param {Intl.DisplayNames} known @param {string} code */
function named(known, code) {
  try {
    return known.of(code);
  } catch {
    return undefined;
  }
}
