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
export { createRocmDriver, type RocmDriverOptions } from './rocm-driver.js';
