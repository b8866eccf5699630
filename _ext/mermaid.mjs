// Reads a JSON list of mermaid sources from stdin, writes a JSON list of {svg} or {error} to stdout.
import { readFileSync } from "node:fs";
import { renderMermaidSVG } from "beautiful-mermaid";

const draw = (source) => {
  try {
    return { svg: renderMermaidSVG(source, { padding: 8, nodeSpacing: 28, transparent: true }) };
  } catch (error) {
    return { error: error.message };
  }
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(draw)));
