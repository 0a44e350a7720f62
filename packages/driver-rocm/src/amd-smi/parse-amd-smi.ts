/**
 * Entry of the parsers of amd-smi and rocm-smi output: finds documents, blocks, tables and errors in one text and puts
 * them together. Owns the order in which they are asked, and the tool and version; must not know any layout itself.
 */
import { findErrors } from './error-text.js';
import { createGpuCollector } from './gpu-collector.js';
import { findJsonDocuments } from './json-documents.js';
import { type DocumentReading, readDocument } from './json-layouts.js';
import type { AmdSmiReport } from './report.js';
import { readRocmSmiText } from './rocm-smi-text.js';
import { readBlocks } from './text-blocks.js';
import { readOverview } from './text-overview.js';
import { readTables } from './text-tables.js';

// `metric --json` of 64 partitions stays below 4 MiB.
const MAX_LENGTH = 16 * 2 ** 20;
const MAX_LINE = 1024;
const VERSION = /(?:AMD-SMI|AMDSMI Tool:|ROCM-SMI version:) {0,4}(\d{1,4}\.[0-9A-Za-z.+-]{1,80})/;

/**
 * Reads what amd-smi (24.x to 26.x, JSON or text) or rocm-smi printed, stdout and stderr alike. Never throws: what it
 * cannot read is in `problems` (`INPUT_TOO_LARGE`, `JSON_CUT_OFF`, `JSON_INVALID`, `JSON_LAYOUT_UNKNOWN`,
 * `TEXT_UNKNOWN`), beside what one should know of what it could (`MODE_UNKNOWN`, `PROFILES_NOT_TOLD`,
 * `VALUES_DISAGREE`, `MEMORY_TOTAL_OF_CARD`, `SET_NOT_READ_BACK`, `GPU_UNNAMED`). Values that the text does not say,
 * N/A among them, are null. Memory is bytes: the tools' "MB" are 2^20.
 */
export function parseAmdSmi(text: string): AmdSmiReport {
  const collector = createGpuCollector();
  if (text.length > MAX_LENGTH) {
    const message = `the output has ${text.length} characters, of which none was read: more than ${MAX_LENGTH} is no answer of the tool`;
    collector.problem('INPUT_TOO_LARGE', message, 'output');
    return { tool: 'unknown', version: null, ...collector.finish(), errors: [] };
  }
  const { documents, rest, broken } = findJsonDocuments(text);
  const readings = documents.map((document, index) =>
    readDocument(collector, document, `document ${index + 1}`),
  );
  for (const { cut, line } of broken) {
    collector.problem(
      cut ? 'JSON_CUT_OFF' : 'JSON_INVALID',
      cut ? 'the output ends within a JSON document' : 'what looks like a JSON document is none',
      `line ${line}`,
    );
  }
  const lines = rest.split(/\r?\n/).map((line) => line.slice(0, MAX_LINE).trimEnd());
  const amdSmi = [readOverview, readBlocks, readTables]
    .map((read) => read(collector, lines))
    .includes(true);
  const rocmSmi = readRocmSmiText(collector, lines);
  const errors = [...readings.flatMap((reading) => reading.errors), ...findErrors(text)];
  const tool = toolOf(text, { amdSmi, rocmSmi, readings });
  if (tool === 'unknown') {
    const message = 'nothing in the output is of a tool this version knows';
    collector.problem('TEXT_UNKNOWN', message, 'output');
  }
  const version =
    VERSION.exec(text)?.[1] ??
    readings.find((reading) => reading.version !== null)?.version ??
    null;
  return { tool, version, ...collector.finish(), errors };
}

interface Evidence {
  readonly amdSmi: boolean;
  readonly rocmSmi: boolean;
  readonly readings: readonly DocumentReading[];
}

/** By what could be read; a text with nothing in it, by the name in it. */
function toolOf(text: string, evidence: Evidence): AmdSmiReport['tool'] {
  const { amdSmi, rocmSmi, readings } = evidence;
  const said = readings.map((reading) => reading.tool);
  if (rocmSmi || said.includes('rocm-smi')) return 'rocm-smi';
  if (amdSmi || said.includes('amd-smi')) return 'amd-smi';
  if (/rocm-smi|rocm system management|RSMI_STATUS/i.test(text)) return 'rocm-smi';
  return /amd-?_?smi/i.test(text) ? 'amd-smi' : 'unknown';
}
