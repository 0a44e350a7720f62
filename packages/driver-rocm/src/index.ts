/**
 * Reads the AMD GPUs of a real node from sysfs and KFD, and what AMD's own tools print about them.
 *
 * @packageDocumentation
 */
export { parseAmdSmi } from './amd-smi/parse-amd-smi.js';
export type {
  AmdSmiError,
  AmdSmiGpu,
  AmdSmiProcess,
  AmdSmiProfile,
  AmdSmiReport,
} from './amd-smi/report.js';
export {
  type Capture,
  type CapturedCommand,
  formatCapture,
  parseCapture,
} from './capture/capture.js';
export { createCaptureFiles } from './capture/capture-files.js';
export { type RecordCaptureOptions, recordCapture } from './capture/record-capture.js';
export type { CardHealth, MemoryAllocationMode, PartitionHealth, RasCount } from './card-health.js';
export type { ChangeTiming } from './change-timing.js';
export {
  type CommandCall,
  type CommandOutcome,
  type CommandRunner,
  createHostCommands,
} from './command-runner.js';
export { crossCheck } from './cross-check.js';
export { type ExamineHostOptions, examineHost } from './doctor/examine-host.js';
export type { Examination, Finding, FindingLevel } from './doctor/findings.js';
export type { HostFacts, HostLimits, PciDevice, ProcessUser } from './doctor/host-facts.js';
export type { FileAccess, FileNames, FileText, FileTree, WriteOutcome } from './file-tree.js';
export { createHostFiles } from './host-files.js';
export { createRocmDriver, type RocmDriver, type RocmDriverOptions } from './rocm-driver.js';
export type { ToolReports, ToolRun } from './tool-reports.js';
