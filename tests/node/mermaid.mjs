// Reads a JSON array of diagrams on stdin and writes what Mermaid's own parser says of each: its kind and messages.
import mermaid from "mermaid";

let text = "";
for await (const some of process.stdin) text += some;
const found = [];
for (const diagram of JSON.parse(text)) {
  try {
    const { diagramType } = await mermaid.parse(diagram);
    const { db } = await mermaid.mermaidAPI.getDiagramFromText(diagram);
    const messages = db.getMessages().filter((one) => one.message !== undefined && one.from !== undefined);
    const actors = [...db.getActors().values()].map((one) => one.description);
    found.push({ kind: diagramType, actors, messages: messages.map((one) => String(one.message)) });
  } catch (error) {
    found.push({ error: String(error.message) });
  }
}
process.stdout.write(JSON.stringify(found));
