/**
 * The shapes that cross the wire, as proto/avatar/*.proto spells them in JSON. Protobuf leaves out fields that hold
 * their default, so almost every field may be missing.
 *
 * @typedef {{name: string, display_name?: string, width?: number, height?: number, landmarks?: Point[],
 *   detection_score?: number, warnings?: string[], doubts?: string[]}} Avatar
 * @typedef {{x?: number, y?: number}} Point  In pixels of the portrait as it was sent.
 * @typedef {{name: string, display_name?: string, language_codes?: string[], kind?: "KIND_BUILT_IN" | "KIND_CLONED",
 *   unusable_reason?: string, recording_quality?: {speech_duration?: string, warnings?: string[]}}} Voice
 *
 * @typedef {{engine: string, language_codes: string[]}} Recogniser  The engine as in the settings, BCP-47 tags.
 * @typedef {"SPEAKER_UNSPECIFIED" | "SPEAKER_USER" | "SPEAKER_AVATAR"} Speaker
 * @typedef {"TURN_STATE_UNSPECIFIED" | "TURN_STATE_LISTENING" | "TURN_STATE_USER_SPEAKING" | "TURN_STATE_THINKING" |
 *   "TURN_STATE_AVATAR_SPEAKING" | "TURN_STATE_DUCKED"} TurnState
 * @typedef {{speaker?: Speaker, utterance_id?: string, text?: string, is_final?: boolean}} Caption
 * @typedef {{utterance_id?: string, heard_text?: string, interrupted?: boolean, heard_duration?: string}} UtteranceEnded
 * @typedef {{service?: string, available?: boolean, message?: string}} ServiceChanged
 * @typedef {{utterance_id?: string, end_of_turn_duration?: string, transcript_duration?: string,
 *   reply_duration?: string, synthesis_duration?: string, audio_sent_duration?: string,
 *   video_sent_duration?: string}} TurnReport  Durations as "1.250s", each from the end of the person's speech.
 * @typedef {{event_offset?: string, caption?: Caption, turn_changed?: {state?: TurnState},
 *   utterance_started?: {utterance_id?: string, text?: string}, utterance_ended?: UtteranceEnded,
 *   service_changed?: ServiceChanged, turn_report?: TurnReport, ended?: {reason?: string, connection_lost?: boolean}}} ConversationEvent
 *
 * @typedef {{iceServers?: RTCIceServer[], videoCodec?: string, audioCodec?: string, conversation?: string}} Config
 * @typedef {{type: "config", data: Config} | {type: "answer", data: RTCSessionDescriptionInit} |
 *   {type: "ice-candidate", data: RTCIceCandidateInit} | {type: "ping"} | {type: "error", error: string} |
 *   {type: "event", data: ConversationEvent} | {type: "avatar", data: {avatar: string}}} ServerMessage
 */

export {};
