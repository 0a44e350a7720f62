/**
 * Plans and applies changes to how GPUs are split, with a journal and rollback.
 *
 * @packageDocumentation
 */
export {
  type DurationRange,
  expectedSwitchMs,
  HARDWARE_TIMING,
  SHORT_TIMING,
  type StepKind,
  type SwitchTiming,
  toSwitchTiming,
} from './switch-timing.js';
