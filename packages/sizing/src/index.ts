/**
 * Works out how many bytes a model needs: weights, KV cache, activation and overhead, and what fits where.
 * @packageDocumentation
 */
export {
  type AimSidecar,
  type GenerateAimOptions,
  type GeneratedAimProfile,
  generateAimProfile,
} from './aim-generate.js';
export {
  type AimMetric,
  type AimPrecision,
  type AimProfile,
  parseAimProfile,
  toAimProfileYaml,
} from './aim-profile.js';
export { type AimValidation, validateAimProfile } from './aim-validate.js';
export { aimProfileToWorkload } from './aim-workload.js';
export { knownFamilies } from './architecture/families.js';
export { calibrate } from './calibrate.js';
export {
  type Calibration,
  type CalibrationRow,
  type Corrections,
  parseCalibration,
} from './calibration-file.js';
export {
  type CheckpointFacts,
  type StoredTensor,
  summariseCheckpoint,
} from './checkpoint.js';
export {
  compareVersions,
  type EngineName,
  type EngineProfile,
  type EngineVersion,
  engineProfile,
  engineProfiles,
  parseEngineVersion,
} from './engine-profiles.js';
export { type ExplanationRow, explainSizing, type SizingExplanation } from './explain-sizing.js';
export {
  type Fit,
  type FitOptions,
  type FitProductOptions,
  type FitReason,
  fitModel,
  fitProduct,
  type LayoutFit,
  type ProductFit,
  smallestLayout,
} from './fit-model.js';
export { fitShared, type SharedFit, type SharedStart, type SharedTenant } from './fit-shared.js';
export {
  type FormulaComponent,
  type FormulaInputs,
  type Formulas,
  loadFormulas,
} from './formulas.js';
export {
  type GgufHeader,
  type GgufResult,
  type GgufValue,
  parseGgufHeader,
} from './gguf-header.js';
export type { KvCacheType } from './kv-cache.js';
export type {
  AttentionMixer,
  Block,
  Component,
  CompressedMixer,
  DeltaMixer,
  DenseFeedForward,
  ExpertFeedForward,
  FeedForward,
  FloatType,
  LatentMixer,
  Mamba1Mixer,
  Mamba2Mixer,
  Mixer,
  ModelConfig,
  ModuleRule,
  MultiTokenPrediction,
  NoMixer,
  QuantizationMethod,
  QuantizationPlan,
  QuantizationScheme,
  RotaryTable,
  Split,
  Tensor,
  VisionTower,
} from './model-config.js';
export {
  createModelLibrary,
  loadModelSource,
  type ModelLibrary,
  type ModelLibraryOptions,
} from './model-files.js';
export type { Parallel } from './parallel.js';
export { countParameters, type ParameterCount } from './parameters.js';
export { type ParseConfigOptions, parseModelConfig } from './parse-config.js';
export { parseSafetensorsHeader } from './safetensors-header.js';
export { type KvSizing, type Sizing, sizeModel } from './size-model.js';
export type { SizeOptions } from './size-options.js';
export {
  DEFAULT_MAX_MODEL_LEN,
  type SizeWorkloadOptions,
  sizeWorkload,
  stepDemand,
} from './size-workload.js';
export type { RankMemory } from './stage-sizing.js';
export { parseStartupLog, type StartupLog } from './startup-log.js';
