/**
 * Vocabulary of AIM GPU Sharing: units, ids, errors, time, the domain types and the ports between packages.
 * @packageDocumentation
 */
export { type CallOptions, isAbort, withDeadline } from './abort.js';
export type { Brand } from './brand.js';
export { type Clock, systemClock } from './clock.js';
export type { CounterRate, CounterStore, CounterTake } from './counter-store.js';
export type { Demand, KvDemand, MemoryDemand, StepDemand } from './demand.js';
export type { BandDemand, DemandSignal } from './demand-signal.js';
export {
  AimError,
  type AimErrorOptions,
  ERROR_KINDS,
  type ErrorDocument,
  type ErrorKind,
  exitCodeOf,
  fromErrorDocument,
  httpStatusOf,
  type SourcePlace,
  toAimError,
  toErrorDocument,
} from './errors.js';
export { DEFAULT_GATEWAY_POLICY } from './gateway-policy.js';
export type { ChangeOptions, GpuDriver, InventoryEvent } from './gpu-driver.js';
export {
  type CardId,
  cardId,
  type HiveId,
  hiveId,
  type InstanceId,
  instanceId,
  type NodeName,
  nodeName,
  type PlanId,
  planId,
  type TenantName,
  tenantName,
  type WorkloadName,
  workloadName,
} from './ids.js';
export type {
  DeviceHolder,
  Inventory,
  ObservedCard,
  ObservedPartition,
  Problem,
} from './inventory.js';
export {
  COMPUTE_MODES,
  type ComputeMode,
  formatLayout,
  type Layout,
  MEMORY_MODES,
  type MemoryMode,
  memoryDomainCount,
  partitionCount,
  sameLayout,
  toLayout,
} from './layout.js';
export { createLease, type Lease } from './lease.js';
export type {
  Assignment,
  LayoutChange,
  Placement,
  Plan,
  PlannedCard,
  PlannedNode,
  PlannedPartition,
  PredictedLatency,
  Reason,
  Share,
  Unplaced,
} from './plan.js';
export { toBytesCount, toCount, toMilliseconds, toShare } from './quantities.js';
export {
  createRng,
  createSequentialIds,
  type IdSource,
  type Rng,
  systemIds,
  systemRng,
} from './random.js';
export type {
  Endpoint,
  EndpointAddress,
  EndpointDirectory,
  EngineSample,
  EnvelopeShare,
  InstanceSpec,
  IsolationMeasure,
  IsolationStrength,
  LaunchCommand,
  LaunchEnvelope,
  Launcher,
  LaunchOptions,
  ProcessExit,
  ProcessMark,
  RunningProcess,
  ServedModel,
  ServingEngine,
} from './serving.js';
export type {
  CoTenantActivity,
  DeviceMemory,
  DeviceTenancy,
  DeviceTenant,
  SharedDevice,
} from './shared-device.js';
export type { Journal, Snapshot, StateStore } from './state-store.js';
export {
  type Logger,
  type MetricLabels,
  type MetricSink,
  silentLogger,
  silentMetrics,
} from './telemetry.js';
export {
  type Bytes,
  bytes,
  bytesCeil,
  bytesFloor,
  type EpochMs,
  formatBytes,
  formatMs,
  GIB,
  gib,
  KIB,
  MIB,
  type MonoMs,
  mib,
  type Ratio,
  ratio,
} from './units.js';
export {
  BANDS,
  type Band,
  type BandTimeouts,
  type EngineChoice,
  type ExpectedLoad,
  type Fleet,
  type FleetNode,
  type GatewayPolicy,
  type GuardWish,
  type KeySource,
  type Objective,
  type PlacementWish,
  type Policy,
  type SimulatedCard,
  type Slo,
  type SpreadTopology,
  type SpreadWish,
  type Tenant,
  type TenantLimits,
  type TenantQuota,
  type Workload,
  type WorkloadKind,
} from './workload.js';
