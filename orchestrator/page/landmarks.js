/** Draws the landmarks of a face over its portrait. */

import { makeSvg } from "./dom.js";

/** @typedef {import("./types.js").Avatar} Avatar */

/**
 * The lines that people recognise, as indices into MediaPipe's 468 landmarks; closed where the first index returns.
 * Source: the canonical face model of MediaPipe's face mesh, https://github.com/google-ai-edge/mediapipe (Apache-2.0).
 */
const CONTOURS = [
  // The oval of the face.
  [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10],
  // The lips, outside and inside.
  [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61],
  [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78],
  // The eyes.
  [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 33],
  [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 263],
  // The brows.
  [70, 63, 105, 66, 107],
  [300, 293, 334, 296, 336],
  // The ridge of the nose and its wings.
  [168, 6, 197, 195, 5, 4],
  [98, 97, 2, 326, 327],
];
const MESH_POINTS = 468;
const MAX_ZOOM = 3;
/** How much of the picture's shorter edge the face fills after zooming. */
const FACE_SHARE = 0.62;

/**
 * @param {SVGElement} overlay  Lies over the picture and has its shape.
 * @param {Avatar} avatar  With `landmarks` in pixels of its `width` x `height`.
 */
export function drawLandmarks(overlay, avatar) {
  const points = (avatar.landmarks ?? []).map(({ x = 0, y = 0 }) => [x, y]);
  const { width = 1, height = 1 } = avatar;
  overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const face = boxOf(points).edge;
  const dots = points.map(([cx, cy]) => makeSvg("circle", { cx, cy, r: face / 260 }));
  const lines = points.length < MESH_POINTS ? [] : CONTOURS.map((contour) => `M${contour.map((i) => points[i].join(" ")).join("L")}`);
  const paths = ["under", ""].flatMap((name) => lines.map((d) => makeSvg("path", { d, class: name, pathLength: 1 })));
  overlay.replaceChildren(...dots, ...paths);
}

/**
 * Brings the face near, if it is small in its picture.
 * @param {HTMLElement} zoom  Holds the picture and the overlay.
 * @param {Avatar | undefined} avatar  Without one, the whole picture is shown.
 */
export function zoomToFace(zoom, avatar) {
  const points = (avatar?.landmarks ?? []).map(({ x = 0, y = 0 }) => [x, y]);
  const { width = 1, height = 1 } = avatar ?? {};
  const { left, top, edge } = boxOf(points);
  const scale = points.length ? Math.min(MAX_ZOOM, Math.max(1, (FACE_SHARE * Math.min(width, height)) / edge)) : 1;
  // With this origin the scaled face comes as near to the middle as the picture's edges allow.
  const origin = (/** @type {number} */ middle) => {
    const share = scale > 1 ? (scale * middle - 0.5) / (scale - 1) : 0.5;
    return `${100 * Math.min(1, Math.max(0, share))}%`;
  };
  zoom.style.transformOrigin = `${origin((left + edge / 2) / width)} ${origin((top + edge / 2) / height)}`;
  zoom.style.transform = `scale(${scale})`;
  // The lines are not to grow with the picture.
  zoom.style.setProperty("--zoom", String(scale));
}

/** @param {number[][]} points */
function boxOf(points) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, top] = [Math.min(...xs, Infinity), Math.min(...ys, Infinity)];
  const edge = Math.max(Math.max(...xs) - left, Math.max(...ys) - top, 1);
  return { left, top, edge };
}
