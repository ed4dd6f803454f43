/** What the connection does now, as numbers with a short past. */

import { make, makeSvg } from "./dom.js";
import { msWords, skewWords } from "./words.js";

/** @typedef {import("./stats.js").Sample} Sample */

/** One a second: the last minute. */
const POINTS = 60;

/**
 * `line` is the value that is drawn; `bad` says when it deserves a look.
 * @type {{name: string, words: (s: Sample) => string, line?: (s: Sample) => number | undefined,
 *   bad?: (s: Sample) => boolean}[]}
 */
const TILES = [
  { name: "Frames per second", words: (s) => fixed(s.fps, 1), line: (s) => s.fps, bad: (s) => (s.fps ?? 25) < 20 },
  { name: "Audio and video sync", words: (s) => skewWords(s.skewMs), line: (s) => s.skewMs, bad: (s) => Math.abs(s.skewMs ?? 0) > 80 },
  { name: "Round-trip time", words: (s) => msWords(s.roundTripMs), line: (s) => s.roundTripMs, bad: (s) => (s.roundTripMs ?? 0) > 200 },
  { name: "Packet loss", words: (s) => fixed(s.lossPercent, 1, " %"), line: (s) => s.lossPercent, bad: (s) => (s.lossPercent ?? 0) > 2 },
  { name: "Audio buffer", words: (s) => msWords(s.soundBufferMs), line: (s) => s.soundBufferMs, bad: (s) => (s.soundBufferMs ?? 0) > 200 },
  { name: "Video buffer", words: (s) => msWords(s.pictureBufferMs), line: (s) => s.pictureBufferMs, bad: (s) => (s.pictureBufferMs ?? 0) > 200 },
  { name: "Download", words: (s) => fixed(s.downKbps, 0, " kbit/s"), line: (s) => s.downKbps },
  { name: "Upload", words: (s) => fixed(s.upKbps, 0, " kbit/s"), line: (s) => s.upKbps },
  { name: "Dropped frames, freezes", words: (s) => (s.dropped === undefined ? "–" : `${s.dropped}, ${s.freezes ?? 0}`), bad: (s) => (s.freezes ?? 0) > 0 },
  { name: "Codecs", words: (s) => coded(s) },
];

export class Tiles {
  /** @param {HTMLElement} list */
  constructor(list) {
    /** @type {Sample[]} */
    this._samples = [];
    this._tiles = TILES.map((tile) => {
      const value = make("dd", "", "–");
      const line = makeSvg("polyline");
      const box = make("div", "tile", make("dt", "", tile.name), value);
      if (tile.line) {
        const svg = makeSvg("svg", { viewBox: `0 0 ${POINTS - 1} 10`, preserveAspectRatio: "none", "aria-hidden": "true" });
        svg.append(line);
        box.append(svg);
      }
      list.append(box);
      return { ...tile, box, value, polyline: line };
    });
  }

  /** @param {Sample} sample */
  add(sample) {
    this._samples = [...this._samples.slice(1 - POINTS), sample];
    for (const tile of this._tiles) {
      const words = tile.words(sample);
      if (tile.value.textContent !== words) tile.value.textContent = words;
      tile.box.classList.toggle("warn", tile.bad?.(sample) ?? false);
      if (tile.line) tile.polyline.setAttribute("points", points(this._samples.map(tile.line)));
    }
  }

  clear() {
    this._samples = [];
    for (const { value, polyline, box } of this._tiles) {
      value.textContent = "–";
      polyline.setAttribute("points", "");
      box.classList.remove("warn");
    }
  }
}

/**
 * A line in a box of POINTS x 10, the newest value at its right edge.
 * @param {(number | undefined)[]} values
 */
function points(values) {
  const known = /** @type {number[]} */ (values.filter((value) => value !== undefined));
  const low = Math.min(0, ...known);
  const span = Math.max(...known, 1e-9) - low || 1;
  return values
    .map((value, i) => (value === undefined ? "" : `${POINTS - values.length + i},${(9.5 - (9 * (value - low)) / span).toFixed(2)}`))
    .join(" ");
}

/** @param {number | undefined} value @param {number} digits @param {string} [unit] */
function fixed(value, digits, unit = "") {
  return value === undefined ? "–" : `${value.toFixed(digits)}${unit}`;
}

/** @param {Sample} s */
function coded(s) {
  const size = s.width ? ` ${s.width}×${s.height}` : "";
  return s.codec ? `${s.codec}${size}, ${s.audioCodec ?? ""}` : "–";
}
