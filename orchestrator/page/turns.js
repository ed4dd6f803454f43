/** The last turns as waterfalls: where the time went between a person's last word and the answer. */

import { make } from "./dom.js";
import { milliseconds, msWords } from "./words.js";

/** @typedef {import("./types.js").TurnReport} TurnReport */
/** @typedef {{stage: string, words: string, fromMs: number, toMs: number}} Bar */

/** In the order in which they happen; each ends at its own time and begins where the one before it ended. */
const STAGES = /** @type {const} */ ([
  ["end_of_turn", "End of turn detected"],
  ["transcript", "Transcript complete"],
  ["reply", "Answer starts"],
  ["synthesis", "Speech generated"],
  ["audio_sent", "Audio sent"],
  ["video_sent", "Video sent"],
]);
const KEPT = 8;
/** The word that an answer began and its first sound come within this of each other. */
const MATCH_MS = 1_500;

/**
 * The bars of one turn. Stages may finish in any order (a recogniser can be done before the end of the turn is sure), so
 * a bar begins at the latest earlier stage that was not later than itself.
 * @param {TurnReport} report
 * @param {number | undefined} heardMs
 * @returns {Bar[]}
 */
export function barsOf(report, heardMs) {
  /** @type {Bar[]} */
  const bars = [];
  const add = (/** @type {string} */ stage, /** @type {string} */ words, /** @type {number | undefined} */ toMs) => {
    if (toMs === undefined) return;
    const earlier = bars.map((bar) => bar.toMs).filter((ms) => ms <= toMs);
    bars.push({ stage, words, fromMs: Math.max(0, ...earlier), toMs });
  };
  for (const [stage, words] of STAGES) {
    // The picture goes out beside the sound, not after it.
    add(stage, words, milliseconds(report[`${stage}_duration`]));
  }
  add("heard", "Heard in this browser", heardMs);
  return bars;
}

export class Turns {
  /** @param {HTMLElement} element */
  constructor(element) {
    this._element = element;
    /** @type {TurnReport[]} the newest first */
    this._reports = [];
    this._chosen = 0;
    /** @type {Map<string, number>} what was measured, in ms, by utterance */
    this._heardMs = new Map();
    /** @type {{id: string, atMs: number} | undefined} */
    this._begun = undefined;
    /** @type {{ms: number, atMs: number} | undefined} */
    this._sound = undefined;
    this._draw();
  }

  /** @param {TurnReport} report */
  add(report) {
    this._reports = [report, ...this._reports].slice(0, KEPT);
    this._chosen = 0;
    this._draw();
  }

  /** The server says that an answer began. @param {string} id */
  began(id) {
    this._begun = { id, atMs: performance.now() };
    this._match();
  }

  /**
   * The first sound of an answer, measured in this browser.
   * @param {number} ms  From the end of the person's speech.
   */
  heard(ms) {
    this._sound = { ms, atMs: performance.now() };
    this._match();
  }

  _match() {
    if (!this._begun || !this._sound || Math.abs(this._begun.atMs - this._sound.atMs) > MATCH_MS) return;
    this._heardMs.set(this._begun.id, this._sound.ms);
    this._begun = this._sound = undefined;
    this._draw();
  }

  clear() {
    this._reports = [];
    this._heardMs.clear();
    this._begun = this._sound = undefined;
    this._draw();
  }

  _draw() {
    if (this._reports.length === 0) {
      this._element.replaceChildren(make("p", "none", "The timing of your turns appears here once you have said something."));
      return;
    }
    const turns = this._reports.map((report) => barsOf(report, this._heard(report)));
    const bars = turns[this._chosen];
    const longestMs = Math.max(1, ...turns.flat().map(({ toMs }) => toMs));
    const list = make("div", "turn-list");
    if (turns.length > 1) list.append(...turns.map((turn, i) => this._button(turn, i, longestMs)));
    this._element.replaceChildren(headline(bars), table(bars), list);
  }

  /**
   * What was measured of this turn. Less than until its sound was sent is a mistake of the measurement (a noise at the
   * microphone after the last word) and is not shown.
   * @param {TurnReport} report
   */
  _heard(report) {
    const ms = this._heardMs.get(report.utterance_id ?? "");
    return ms !== undefined && ms >= (milliseconds(report.audio_sent_duration) ?? 0) ? ms : undefined;
  }

  /** @param {Bar[]} bars @param {number} index @param {number} longestMs */
  _button(bars, index, longestMs) {
    const line = make("span", "bar-line");
    line.setAttribute("aria-hidden", "true");
    let drawnMs = 0;
    for (const { stage, toMs } of [...bars].sort((a, b) => a.toMs - b.toMs)) {
      const part = make("i");
      part.dataset.stage = stage;
      part.style.width = `${(100 * (toMs - drawnMs)) / longestMs}%`;
      line.append(part);
      drawnMs = toMs;
    }
    const button = make("button", "", line, make("b", "", msWords(totalMs(bars))));
    button.type = "button";
    button.setAttribute("aria-pressed", String(index === this._chosen));
    button.setAttribute("aria-label", `${index === 0 ? "Last turn" : `${index} turn${index > 1 ? "s" : ""} earlier`}: ${msWords(totalMs(bars))}`);
    button.addEventListener("click", () => {
      this._chosen = index;
      this._draw();
      /** @type {HTMLElement | undefined} */ (this._element.querySelectorAll(".turn-list button")[index])?.focus();
    });
    return button;
  }
}

/** Until the answer was heard, or was sent where nobody measured that. @param {Bar[]} bars */
function totalMs(bars) {
  const of = (/** @type {string} */ stage) => bars.find((bar) => bar.stage === stage)?.toMs;
  return of("heard") ?? of("audio_sent") ?? Math.max(0, ...bars.map((bar) => bar.toMs));
}

/** @param {Bar[]} bars */
function headline(bars) {
  const heard = bars.some((bar) => bar.stage === "heard");
  return make("p", "total", make("b", "", msWords(totalMs(bars))), make("span", "", heard ? "until you heard it" : "until it was sent"));
}

/** @param {Bar[]} bars */
function table(bars) {
  const endMs = Math.max(1, ...bars.map((bar) => bar.toMs));
  const body = make("tbody");
  for (const { stage, words, fromMs, toMs } of bars) {
    const bar = make("i");
    bar.style.left = `${(100 * fromMs) / endMs}%`;
    bar.style.width = `${(100 * (toMs - fromMs)) / endMs}%`;
    const lane = make("div", "lane", bar);
    lane.setAttribute("aria-hidden", "true");
    const head = make("th", "", words);
    head.scope = "row";
    const row = make("tr", "", head, make("td", "", lane), make("td", "", msWords(toMs)));
    row.dataset.stage = stage;
    body.append(row);
  }
  return make("table", "stages", body);
}
