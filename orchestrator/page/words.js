/** Every sentence that the page says by itself, and how it writes numbers. */

export const WORDS = {
  connecting: { title: "Connecting", words: "The face is on its way." },
  lost: "Connection lost",
  offline: "You are offline. The conversation goes on when the network is back.",
  retryNow: "Try now",
  gaveUp: "The connection could not be restored. Please check your network and start again.",
  unstable: "The connection is weak: sound and picture may stop for a moment.",
  mending: "Sound and picture stopped. Reconnecting.",
  unreachable: "The server does not respond. Please check that it is running, then try again.",
  full: "The server is full: every place is taken right now. Please try again in a minute.",
  ended: "The conversation is over.",
  noAudioOut: "Your browser has blocked the sound.",
  soundOn: "Turn the sound on",
  micGone: "The microphone was disconnected. Plug it in and press the microphone button, or type.",
  micRestart: "Restarting with your microphone.",
  emptyWithMic: "Say something, or type below. What is said appears here.",
  emptyWithoutMic: "Type below. What is said appears here.",
  faceChanged: "The face has changed.",
  noFaces: "The faces could not be loaded",
  noVoices: "Only the default voice is offered: the list could not be loaded",
  readAloud:
    "Say what you like for ten to twenty seconds, or read this aloud: The north wind and the sun once argued about who was the " +
    "stronger, when a traveller came along, wrapped in a warm cloak. Whoever made him take it off first should be the winner.",
  newSession: "Reconnected; a new conversation began here.",
  leftPage: "You left the page, so the conversation ended.",
};

/** What is missing while a service is away, where the server sends no sentence of its own. */
export const MISSING = {
  stt: "Speech recognition is unavailable at the moment. You can type instead.",
  tts: "The voice is unavailable at the moment. Answers appear as text.",
  render: "The picture stands still at the moment. You still hear the answers.",
};

/** @type {Record<string, string>} */
export const BACK = {
  stt: "Speech recognition is back.",
  tts: "The voice is back.",
  render: "The picture moves again.",
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
 * @param {string} [instead]  What can be done without one.
 * @returns {string}
 */
export function microphoneWords(error, instead = "continue without it and type") {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  switch (name) {
    case "InsecureContextError":
      return `Browsers give the microphone to secure pages only. Open this page by https:// or on the machine itself (localhost); this is ${location.origin}. You can ${instead}.`;
    case "NotAllowedError":
    case "SecurityError":
      return `The microphone was not allowed. Allow it beside the address of the page and press the button again, or ${instead}.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No microphone was found. Plug one in and press the button again, or ${instead}.`;
    case "NotReadableError":
    case "AbortError":
      return `The microphone is there but gives no sound: another program may be using it. Close that one and press the button again, or ${instead}.`;
    default:
      return `This browser gives no microphone. You can ${instead}.`;
  }
}

/**
 * A refusal of the server, where its body has no sentence.
 * @param {number} status  HTTP status; 0 when nothing answered.
 */
export function httpWords(status) {
  switch (status) {
    case 0:
      return "The server does not respond. Please check your network.";
    case 401:
      return "The server asks for its token. Open this page by the link that `avatar token` prints.";
    case 403:
      return "The server does not allow this.";
    case 404:
      return "The server has nothing under this name.";
    case 408:
    case 504:
      return "The server took too long. Please try again.";
    case 413:
      return "The file is too large for the server; at most 20 MiB.";
    case 429:
      return "Too many requests right now. Please wait a moment and try again.";
    case 503:
      return "This part of the server is starting or unavailable. Please try again in a moment.";
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
 * What is missing where a program should answer, and how to set it.
 * @param {boolean} hasAnswered  Whether it has in this conversation.
 */
export function assistantWords(hasAnswered) {
  if (hasAnswered) return "Your assistant has not answered this. Is its program still running? You can go on meanwhile.";
  return "No assistant is answering. This conversation waits for a program of yours: docs/connect-your-assistant.md shows how to connect one. For the built-in demo, open the page with ?reply=demo.";
}

/** Recognisers by their names in the settings, as people know them. @type {Record<string, string>} */
const RECOGNISERS = { pocketsphinx: "PocketSphinx", parakeet: "Parakeet", whisper: "Whisper", canary: "Canary" };
/** As many languages are named one by one. */
const MANY_LANGUAGES = 5;

/**
 * What listens, and in which languages, where those are fewer than are spoken.
 * @param {import("./types.js").Recogniser | undefined} recogniser
 * @param {string[]} spoken  BCP-47 tags of the languages that are offered.
 * @param {string} chosen  One of them.
 * @returns {string} empty until it is known
 */
export function hearingWords(recogniser, spoken, chosen) {
  if (!recogniser) return "";
  const { engine, language_codes: heard } = recogniser;
  const by = `Speech recognition by ${RECOGNISERS[engine] ?? engine}`;
  // As services look a tag up: "de-AT" is heard where "de" is.
  const isHeard = (/** @type {string} */ code) => heard.some((one) => `${code}-`.toLowerCase().startsWith(`${one}-`.toLowerCase()));
  if (heard.length === 0 || spoken.every(isHeard)) return `${by}.`;
  const names = languageNames([...new Set([...heard, chosen])]);
  const list = new Intl.ListFormat("en").format(heard.map((code) => names.get(code) ?? code));
  const which = heard.length > MANY_LANGUAGES ? `${heard.length} languages` : `${list} only`;
  if (isHeard(chosen)) return `${by}, in ${which}. In others, type and listen.`;
  return `${by}, in ${which}, and not in ${names.get(chosen)}. Type what you want to say, and listen to the answers.`;
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
  return rounded > 0 ? `audio ${rounded} ms ahead` : `audio ${-rounded} ms behind`;
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
