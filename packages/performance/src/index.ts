/**
 * Predicts how fast an engine runs on a partition that it shares with others.
 *
 * @packageDocumentation
 */
export {
  type Assumption,
  type AssumptionGrade,
  DEFAULT_ASSUMPTIONS,
  type PerformanceAssumptions,
} from './assumptions.js';
export { BAND_WIDENING, type Band, type Bands, MEASURED_BANDS } from './bands.js';
export {
  type Calibration,
  type CalibrationOptions,
  fitCalibration,
  type Measurement,
  unknownHardware,
} from './calibration.js';
export {
  type CalibrationFile,
  parseCalibrationFile,
  toCalibrationFile,
} from './calibration-file.js';
export {
  holdsTarget,
  type LargestLoad,
  type LatencyTarget,
  largestLoad,
  loadAtBusy,
  type PartitionCandidate,
  type SmallestPartition,
  smallestPartition,
} from './capacity.js';
export { type CoTenantSlowdownOptions, coTenantSlowdown } from './co-tenants.js';
export {
  ENGINE_PROFILES,
  type EngineConstants,
  type EngineFamily,
  type EngineProfile,
  type Grade,
} from './engine-constants.js';
export { toEngineFamily } from './engine-family.js';
export {
  createEngineSimulation,
  type EngineSimulation,
  type EngineSimulationOptions,
} from './engine-simulation.js';
export type {
  EngineCounters,
  EngineRequest,
  EngineSequence,
  EngineStep,
  SequenceState,
} from './engine-step.js';
export { explainStep } from './explain.js';
export { type CurvePoint, type LoadCurve, toLoadCurve, toSvg } from './load-curve.js';
export type { EngineLimits } from './load-means.js';
export {
  type LoadMeasurement,
  type LoadSimulationOptions,
  type Percentiles,
  simulateLoad,
} from './load-simulation.js';
export {
  type MathPrecision,
  type PartitionSpeed,
  type PartitionSpeedOptions,
  toPartitionSpeed,
} from './partition-speed.js';
export {
  type CalibratedConstants,
  type CalibratedPlace,
  type PredictOptions,
  predict,
} from './predict.js';
export { type CardMember, type MemberPrediction, predictTogether } from './predict-together.js';
export type { Estimate, NoPrediction, Prediction } from './prediction.js';
export {
  createStepModel,
  type DecodeParts,
  type StepModel,
  type StepModelOptions,
} from './step-model.js';
export type { Arrivals, Lengths, Traffic } from './traffic.js';
