/** What the page has to say beside the conversation, each at most once. */

import { byId, icon, make } from "./dom.js";

/** @type {Map<string, HTMLElement>} */
const shown = new Map();

/**
 * Shows a sentence until it is taken back or closed.
 * @param {string} key  A later sentence with the same key takes its place.
 * @param {string} words  Empty takes it back.
 * @param {"warn" | "bad" | "good"} [kind]
 */
export function notice(key, words, kind = "warn") {
  const old = shown.get(key);
  if (!words) {
    old?.remove();
    shown.delete(key);
    return;
  }
  const close = make("button", "", icon("end"));
  close.type = "button";
  close.setAttribute("aria-label", "Close this message");
  close.addEventListener("click", () => notice(key, ""));
  const element = make("div", `notice ${kind}`, make("p", "", words), close);
  element.dataset.key = key;
  if (old) old.replaceWith(element);
  else byId("notices").append(element);
  shown.set(key, element);
}

/** @param {(key: string) => boolean} [which]  All, if left out. */
export function clearNotices(which = () => true) {
  for (const key of [...shown.keys()]) if (which(key)) notice(key, "");
}
