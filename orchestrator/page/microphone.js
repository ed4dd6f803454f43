/** Asking for the microphone. */

/**
 * Opens the microphone: mono, with echo cancellation, so that the avatar does not hear itself.
 * @returns {Promise<MediaStream>}
 * @throws {DOMException} as getUserMedia does, or InsecureContextError where browsers offer no microphone at all;
 *   words.js says each in words.
 */
export async function openMicrophone() {
  if (!window.isSecureContext) throw new DOMException("not a secure page", "InsecureContextError");
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("no media devices", "NotSupportedError");
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  return navigator.mediaDevices.getUserMedia({ audio });
}

/** @param {MediaStream | undefined} stream */
export function closeStream(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
