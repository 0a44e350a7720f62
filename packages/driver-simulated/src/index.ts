/**
 * A simulated GPU machine with the timing and the faults of a real one.
 *
 * @packageDocumentation
 */
export {
  createSimulatedDriver,
  type SimulatedDriver,
  type SimulatedDriverOptions,
} from './driver.js';
export type {
  FaultableCall,
  FaultControl,
  FaultEffect,
  FaultRule,
  RandomFaults,
} from './faults.js';
export { type KernelVariant, NEWEST_KERNEL, ROCM_6_KERNEL } from './kernel.js';
export { readSimulatedNodes } from './machine-store.js';
export type { ToolResult } from './materialize/amd-smi.js';
export type {
  KernelWriteResult,
  MaterializedMachine,
  MaterializeOptions,
} from './materialize/materialized-machine.js';
export { readDeviceSocket } from './materialize/tree-marker.js';
export { hostProcesses, type ProcessTable } from './process-table.js';
export type { SimulatedTiming } from './timing.js';
