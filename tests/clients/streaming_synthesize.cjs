// A client in another language: speaks one utterance over StreamingSynthesize and prints a line of JSON per reply.
// Usage: node streaming_synthesize.cjs ADDRESS VOICE PROTO_FOLDER...
"use strict";
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [address, voice, ...includeDirs] = process.argv.slice(2);
const definition = protoLoader.loadSync("avatar/tts/v1/tts.proto", {
  includeDirs,
  keepCase: true,
  longs: String,
  enums: String,
  oneofs: true,
});
const { TextToSpeechService } = grpc.loadPackageDefinition(definition).avatar.tts.v1;
const client = new TextToSpeechService(address, grpc.credentials.createInsecure());
const call = client.StreamingSynthesize({ deadline: Date.now() + 30_000 });
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

call.on("data", (reply) => {
  if (reply.response === "started") {
    // Only now, so that both directions are seen to be open at once.
    call.write({ text: { utterance_id: "u1", text: "Hello " } });
    call.write({ text: { utterance_id: "u1", text: "world.", last: true } });
  }
  if (reply.response === "utterance_end") call.end();
  const bytes = reply.response === "audio" ? reply.audio.data.length : undefined;
  print({ reply: reply.response, bytes, utterance_id: reply[reply.response].utterance_id });
});
call.on("error", (error) => {
  print({ code: error.code, message: error.details, has_details: error.metadata.get("grpc-status-details-bin").length });
  client.close();
});
call.on("end", () => client.close());
call.write({ config: { voice } });
