/**
 * Layouts of the agent's node: reaching those of a plan (or those it had before), and repairing what a crash left in
 * the middle. Owns no rule: partitioning plans and applies; this file says which layouts are wanted and compares.
 */
import {
  AimError,
  type CallOptions,
  type CardId,
  type Clock,
  type GpuDriver,
  type InstanceId,
  type Inventory,
  type Layout,
  type Logger,
  type NodeName,
  type Plan,
  type StateStore,
} from '@aim-gpu/core';
import {
  applyRepartition,
  planRepartition,
  recoverRepartition,
  toSwitchTiming,
} from '@aim-gpu/partitioning';
