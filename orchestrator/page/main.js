/** Wires the page: what a person does on one side, one conversation on the other. */

import { DEFAULT_AVATAR } from "./api.js";
import { Assistant } from "./assistant.js";
import { Captions } from "./captions.js";
import { Conversation } from "./conversation.js";
import { announce, byId } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Faces } from "./faces.js";
import { HeardTimer, Levels, Wave } from "./levels.js";
import { closeStream, openMicrophone } from "./microphone.js";
import { clearNotices, notice } from "./notices.js";
import { PortraitDialog } from "./portrait.js";
import { Stage } from "./stage.js";
import { Sampler } from "./stats.js";
import { VoiceDialog } from "./voice-dialog.js";
import { Voices } from "./voices.js";
import { BACK, microphoneWords, MISSING, retryWords, WORDS } from "./words.js";

/** @typedef {import("./types.js").ConversationEvent} ConversationEvent */
/** @typedef {import("./conversation.js").Phase} Phase */

const STORED = "avatar.choice";
const GOOD_NEWS_MS = 6_000;
const KEPT_EVENTS = 5_000;

/**
 * A link may carry ?avatar=avatars/x&voice=&language=&reply= ; what it leaves out was chosen last time here, or is what
 * the server's operator chose.
 */
const wanted = { ...served(), ...stored(), ...Object.fromEntries(new URLSearchParams(location.search)) };

/** @type {Conversation | undefined} */
let conversation;
/** @type {MediaStream | undefined} */
let microphone;
let isMuted = false;
let turnState = "";
/** @type {Set<string>} utterances of the avatar that are not over */
const speaking = new Set();
/** @type {ConversationEvent[]} */
const events = [];

const stage = new Stage();
const levels = new Levels();
const wave = new Wave(byId("wave"));
const sayText = byId("say-text", HTMLTextAreaElement);
const drawer = new Drawer(
  () => conversation?.peer?.pc,
  (kind, intensity) => conversation?.express(kind, intensity),
);
const heard = new HeardTimer((ms) => drawer.turns.heard(ms));
const captions = new Captions({
  log: byId("log"),
  live: byId("live"),
  scroll: byId("scroll"),
  newest: byId("newest"),
  ofUser: byId("caption-user"),
  ofAvatar: byId("caption-avatar"),
  onLine: () => showEmpty(),
});
const assistant = new Assistant((words) => {
  notice("assistant", words);
  // It still hears: whoever waits no longer can go on.
  if (words) turnState = "TURN_STATE_LISTENING";
  showInput();
});
const facesDialog = byId("faces-dialog", HTMLDialogElement);
/** @type {Faces} */
const faces = new Faces(
  [byId("welcome-faces"), byId("dialog-faces")],
  {
    onChoose: chooseFace,
    onLoaded: () => stage.showStill(faces.chosen),
    onAdd: () => {
      facesDialog.close();
      portrait.open();
    },
    onError: (words) => notice("faces", words, "bad"),
  },
  wanted.avatar ?? DEFAULT_AVATAR,
);
const portrait = new PortraitDialog({
  onMade: (avatar) => faces.add(avatar),
  onUse: (avatar) => faces.choose(avatar.name),
  onDeleted: (name) => faces.remove(name),
});
/** @type {Voices} */
const voices = new Voices(
  {
    language: byId("language", HTMLSelectElement),
    voice: byId("voice", HTMLSelectElement),
    note: byId("hearing"),
    own: byId("own-voice"),
  },
  { language: wanted.language ?? "", voice: wanted.voice ?? "" },
  { onChange: store, onAdd: openVoiceDialog, onError: (words) => notice("voices", words, "bad") },
);

/* -- choosing ---------------------------------------------------------------------------------------------------- */

/** What the server wrote into the page. @returns {Record<string, string>} */
function served() {
  /** @type {Record<string, string>} */
  const found = {};
  for (const name of ["avatar", "language", "voice", "reply"]) {
    const value = document.body.dataset[name];
    if (value) found[name] = value;
  }
  return found;
}

/** @returns {Record<string, string>} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    return {};
  }
}

function store() {
  try {
    localStorage.setItem(STORED, JSON.stringify({ avatar: faces.chosen, voice: voices.voice, language: voices.language }));
  } catch {
    // A browser that keeps nothing chooses anew next time.
  }
}

function openVoiceDialog() {
  new VoiceDialog({
    onMade: (voice) => voices.add(voice),
    onUse: (voice) => voices.use(voice),
    onDeleted: (name) => voices.remove(name),
  });
}

/** @param {string} name */
function chooseFace(name) {
  stage.showStill(name);
  conversation?.show(name);
  captions.avatarName = faces.chosenName;
  store();
}

/* -- beginning and ending ---------------------------------------------------------------------------------------- */

/**
 * @param {() => boolean} isWanted  Asked once the person has answered the browser.
 * @returns {Promise<boolean>} whether there is a microphone now
 */
async function askForMicrophone(isWanted) {
  try {
    const opened = await openMicrophone();
    if (!isWanted()) {
      closeStream(opened);
      return false;
    }
    microphone = opened;
  } catch (error) {
    notice("microphone", microphoneWords(error), "bad");
    return false;
  }
  notice("microphone", "");
  isMuted = false;
  for (const track of microphone.getAudioTracks()) {
    track.addEventListener("ended", () => {
      closeMicrophone();
      notice("microphone", WORDS.micGone);
      showInput();
    });
  }
  levels.watch("microphone", microphone, (levelDb, timeS) => {
    wave.show(isMuted ? -120 : levelDb, timeS);
    heard.microphone(isMuted ? -120 : levelDb, timeS);
  });
  return true;
}

function closeMicrophone() {
  levels.watch("microphone", undefined, () => {});
  closeStream(microphone);
  microphone = undefined;
  wave.rest();
}

/** @param {boolean} withMicrophone */
async function start(withMicrophone) {
  const buttons = [byId("start", HTMLButtonElement), byId("start-typing", HTMLButtonElement)];
  for (const button of buttons) button.disabled = true;
  await levels.open().catch((error) => console.warn("no level meter:", error));
  const goOn = !withMicrophone || (await askForMicrophone(() => true));
  for (const button of buttons) button.disabled = false;
  if (!goOn) return byId("start-typing").focus();
  clearNotices();
  captions.clear();
  drawer.clear();
  assistant.begin(wanted.reply === "assistant");
  captions.avatarName = faces.chosenName;
  showScreen("talk");
  const options = { avatar: faces.chosen, voice: voices.voice, language: voices.language, reply: wanted.reply };
  conversation = new Conversation(options, microphone, {
    onPhase,
    onStream: (stream) => {
      stage.play(stream);
      levels.watch("avatar", stream, (levelDb, timeS) => heard.avatar(levelDb, timeS));
    },
    onEvent,
    onAvatar: (name, isNew) => {
      faces.shown(name);
      stage.showStill(name);
      captions.avatarName = faces.chosenName;
      if (isNew) announce(WORDS.faceChanged);
    },
    onNotice: (words, key) => notice(key, words),
    onGap: (isAway) => {
      stage.lost = isAway;
      showInput();
    },
  });
  conversation.start();
  (microphone ? byId("mic") : sayText).focus();
}

/** @param {Phase} phase */
function onPhase(phase) {
  document.body.dataset.phase = phase.name;
  drawer.moodsEnabled = phase.name === "live";
  if (phase.name !== "live") quieten();
  switch (phase.name) {
    case "connecting":
      if (phase.attempt === 0) stage.veil(WORDS.connecting.title, WORDS.connecting.words);
      else stage.veil(WORDS.lost, "Trying again.");
      break;
    case "live":
      stage.unveil();
      stage.lost = false;
      if (phase.attempt > 0) captions.note(WORDS.newSession);
      showInput();
      break;
    case "waiting": {
      const retry = navigator.onLine ? retryWords(phase.attempt, phase.delayS) : WORDS.offline;
      const words = phase.words ? `${phase.words} ${retry}` : retry;
      stage.lost = true;
      stage.veil(WORDS.lost, words, WORDS.retryNow, () => conversation?.retry(), true);
      announce(`${WORDS.lost}. ${words}`);
      break;
    }
    case "over":
      over(phase.words, phase.failed);
  }
  showSend();
}

/** The avatar says nothing any more. */
function quieten() {
  speaking.clear();
  turnState = "";
  captions.close();
  byId("turn").hidden = true;
  byId("stop", HTMLButtonElement).disabled = true;
  clearNotices((key) => key.startsWith("service-") || key === "unstable");
}

/** @param {string} words @param {boolean} failed */
function over(words, failed) {
  conversation = undefined;
  assistant.end();
  levels.watch("avatar", undefined, () => {});
  closeMicrophone();
  stage.rest();
  facesDialog.close();
  clearNotices();
  if (words) notice("over", words, failed ? "bad" : "good");
  byId("save-last").hidden = byId("save", HTMLButtonElement).disabled;
  showScreen("welcome");
  byId("start").focus();
}

/** @param {"welcome" | "talk"} screen */
function showScreen(screen) {
  document.body.dataset.screen = screen;
  byId("welcome").hidden = screen !== "welcome";
  byId("talk").hidden = screen !== "talk";
  byId("change-face").hidden = screen !== "talk";
  showEmpty();
  showInput();
}

/* -- while it runs ----------------------------------------------------------------------------------------------- */

/** @param {ConversationEvent} event */
function onEvent(event) {
  events.push(event);
  if (events.length > KEPT_EVENTS) events.shift();
  captions.apply(event);
  if (event.turn_changed) turnState = event.turn_changed.state ?? "";
  if (event.utterance_started) {
    const { utterance_id: id = "" } = event.utterance_started;
    speaking.add(id);
    drawer.turns.began(id);
  }
  if (event.utterance_ended) speaking.delete(event.utterance_ended.utterance_id ?? "");
  if (event.turn_report) drawer.turns.add(event.turn_report);
  assistant.apply(event);
  if (event.service_changed) onService(event.service_changed);
  showInput();
}

/** @param {import("./types.js").ServiceChanged} change */
function onService({ service = "", available = false, message = "" }) {
  const key = `service-${service}`;
  // It may be another recogniser, or have other voices.
  if (available && service !== "render") voices.load();
  if (!available) return notice(key, message || /** @type {Record<string, string>} */ (MISSING)[service] || `${service} is away.`);
  const wasMissing = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!wasMissing) return;
  notice(key, message || BACK[service] || `${service} is back.`, "good");
  window.setTimeout(() => document.querySelector(`.good[data-key="${CSS.escape(key)}"]`) && notice(key, ""), GOOD_NEWS_MS);
}

function showInput() {
  const input = { hasMicrophone: microphone !== undefined, isMuted };
  stage.microphone(input);
  byId("transcript-empty").textContent = input.hasMicrophone ? WORDS.emptyWithMic : WORDS.emptyWithoutMic;
  if (conversation?.phase.name !== "live") return;
  if (!stage.lost) stage.turn(turnState, input);
  byId("stop", HTMLButtonElement).disabled = !isSpeaking();
}

function isSpeaking() {
  return speaking.size > 0 || turnState === "TURN_STATE_AVATAR_SPEAKING" || turnState === "TURN_STATE_DUCKED";
}

function showEmpty() {
  const isEmpty = byId("log").childElementCount === 0;
  byId("transcript-empty").hidden = !isEmpty || byId("live").childElementCount > 0;
  byId("save", HTMLButtonElement).disabled = isEmpty;
}

function showSend() {
  byId("send", HTMLButtonElement).disabled = !sayText.value.trim() || conversation?.phase.name !== "live";
}

function say() {
  const text = sayText.value.trim();
  if (!text || conversation?.phase.name !== "live" || !conversation.say(text)) return;
  captions.typed(text);
  heard.typed(levels.now());
  sayText.value = "";
  showSend();
}

async function toggleMicrophone() {
  const asking = conversation;
  if (!asking) return;
  if (!microphone) {
    // It may have ended meanwhile, or have got its microphone by another press of the button.
    if (!(await askForMicrophone(() => conversation === asking && !microphone)) || !microphone) return;
    captions.note(WORDS.micRestart);
    asking.restart(microphone);
  } else {
    isMuted = !isMuted;
    for (const track of microphone.getAudioTracks()) track.enabled = !isMuted;
    if (isMuted) wave.rest();
    announce(isMuted ? "Microphone muted." : "Microphone on.");
  }
  showInput();
}

function saveTranscript() {
  const link = document.createElement("a");
  const url = URL.createObjectURL(new Blob([captions.asText()], { type: "text/plain" }));
  link.href = url;
  link.download = "conversation.txt";
  link.click();
  URL.revokeObjectURL(url);
}

/* -- hands ------------------------------------------------------------------------------------------------------- */

byId("start").addEventListener("click", () => void start(true));
byId("start-typing").addEventListener("click", () => void start(false));
byId("mic").addEventListener("click", () => void toggleMicrophone());
byId("stop").addEventListener("click", () => conversation?.interrupt());
byId("end").addEventListener("click", () => conversation?.end());
byId("save").addEventListener("click", saveTranscript);
byId("save-last").addEventListener("click", saveTranscript);
byId("change-face").addEventListener("click", () => facesDialog.showModal());
byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
sayText.addEventListener("input", showSend);
sayText.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  say();
});
for (const dialog of document.querySelectorAll("dialog")) {
  // A click on the backdrop is a click on the dialog itself, outside its box's children.
  dialog.addEventListener("click", ({ target }) => {
    const closes = target === dialog || (target instanceof Element && target.closest("[data-close]"));
    if (closes) dialog.close();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.repeat || document.querySelector("dialog[open]")) return;
  const target = /** @type {Element} */ (event.target);
  if (event.key === "Escape") {
    if (conversation && isSpeaking()) conversation.interrupt();
    else if (drawer.isOpen) drawer.show(false);
  } else if (event.key === " " && conversation && !target.closest("input, textarea, select, button, a")) {
    event.preventDefault();
    void toggleMicrophone();
  }
});
window.addEventListener("pagehide", () => conversation?.end(WORDS.leftPage));

/**
 * For tests, to look at and not to act: `pc` and `socket` of the running session, every event so far, and
 * `stats()`, a promise of one Sample (stats.js) whose rates are over the time since its last call.
 */
const sampler = new Sampler();
Object.assign(window, {
  avatar: {
    get pc() {
      return conversation?.peer?.pc;
    },
    get socket() {
      return conversation?.signaling?.socket;
    },
    events,
    stats: async () => (conversation?.peer ? sampler.take(conversation.peer.pc) : {}),
  },
});

stage.showStill(faces.chosen);
if (!window.isSecureContext) notice("microphone", microphoneWords(new DOMException("", "InsecureContextError")));
showScreen("welcome");
void faces.load();
voices.load();
