// gRPC-Web from a page, over generated code: bundled by the test and run in the page's own origin.
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { TextToSpeechService } from "avatar/tts/v1/tts_pb.js";

const client = createClient(TextToSpeechService, createGrpcWebTransport({ baseUrl: location.origin }));

globalThis.foreignClient = {
  async listVoices() {
    return (await client.listVoices({})).voices.map((voice) => voice.name);
  },
  async synthesizeStream(text) {
    const replies = [];
    for await (const message of client.synthesizeStream({ text })) {
      const { case: reply, value } = message.response;
      replies.push({ reply, bytes: value.data?.length ?? 0 });
    }
    return replies;
  },
  async errorOf(text) {
    try {
      await client.synthesize({ text });
      return null;
    } catch (error) {
      return { code: error.code, message: error.rawMessage, details: error.details.map((detail) => detail.type) };
    }
  },
};
