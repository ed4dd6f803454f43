/** The JSON side of the server: faces and voices. Every failure becomes an ApiError whose message is for people. */

import { httpWords } from "./words.js";

/** @typedef {import("./types.js").Avatar} Avatar */
/** @typedef {import("./types.js").Recogniser} Recogniser */
/** @typedef {import("./types.js").Voice} Voice */

export const DEFAULT_AVATAR = "avatars/default";
export const MAX_PORTRAIT_BYTES = 20 * 1024 * 1024;
export const MAX_RECORDING_BYTES = 20 * 1024 * 1024;

export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status  HTTP status; 0 when nothing answered.
   * @param {string} [reason]  Of a google.rpc.ErrorInfo, for programs.
   */
  constructor(message, status, reason = "") {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @param {number} [timeoutMs]
 * @returns {Promise<any>}
 */
async function request(path, init = {}, timeoutMs = 15_000) {
  let response;
  try {
    response = await fetch(path, { ...init, signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiError(httpWords(late ? 504 : 0), late ? 504 : 0);
  }
  const body = await response.json().catch(() => undefined);
  if (!response.ok) {
    const reason = body?.details?.find((/** @type {{reason?: string}} */ detail) => detail.reason)?.reason;
    throw new ApiError(sentence(body) ?? httpWords(response.status), response.status, reason);
  }
  if (body === undefined) throw new ApiError("The server's answer could not be read.", response.status);
  return body;
}

/**
 * The sentence of an error body: google.rpc.Status, or {"error": ...}.
 * @param {any} body
 * @returns {string | undefined}
 */
function sentence(body) {
  const words = body?.message ?? body?.error?.message ?? body?.error;
  if (typeof words !== "string" || !words) return undefined;
  return words[0].toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}

/** @returns {Promise<Avatar[]>} */
export async function listAvatars() {
  return (await request("/v1/avatars")).avatars ?? [];
}

/** The voices, and whether the server makes others of recordings. @returns {Promise<{voices: Voice[], canClone: boolean}>} */
export async function listVoices() {
  const found = await request("/v1/voices");
  return { voices: found.voices ?? [], canClone: found.can_clone_voices ?? false };
}

/**
 * @param {{recording: string, consent: {given: boolean, statement: string}, display_name?: string, keep_recording?: boolean}} voice
 *   The recording as base64.
 * @returns {Promise<Voice>}
 */
export async function createVoice(voice) {
  const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(voice) };
  return request("/v1/voices", init, 60_000);
}

/** @param {string} name */
export async function deleteVoice(name) {
  await request(`/v1/${name}`, { method: "DELETE" });
}

/** What listens. @returns {Promise<Recogniser>} */
export async function getRecogniser() {
  return request("/hearing");
}

/**
 * @param {{portrait: string, consent: string, display_name?: string}} avatar  The portrait as base64.
 * @param {"validate_only" | "confirm_doubtful_face"} [flag]  Look only; or take what may not be a person's face.
 * @returns {Promise<Avatar>}
 */
export async function createAvatar(avatar, flag) {
  const query = flag ? `?${flag}=true` : "";
  const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(avatar) };
  return request(`/v1/avatars${query}`, init, 120_000);
}

/** @param {string} name */
export async function deleteAvatar(name) {
  await request(`/v1/${name}`, { method: "DELETE" });
}

/** A file as it stands in JSON. @param {File} file @returns {Promise<string>} */
export function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(/** @type {string} */ (reader.result).split(",", 2)[1]));
    reader.addEventListener("error", () => reject(new Error(`“${file.name}” could not be read.`)));
    reader.readAsDataURL(file);
  });
}

/**
 * Where a picture of the face is.
 * @param {string} name
 * @param {number} size  Edge in pixels, 64 to 512.
 */
export function stillUrl(name, size) {
  return `/v1/${name}:renderStill?size=${size}`;
}
