/**
 * What bounds requests at a gateway where a fleet says nothing. The only copy of these figures; a fleet file fills them
 * in, and who keeps to them is the gateway.
 */
import { mib } from './units.js';
import type { BandTimeouts, GatewayPolicy } from './workload.js';

const MINUTE = 60_000;
const URGENT: BandTimeouts = {
  firstByteMs: 10 * MINUTE,
  idleMs: 2 * MINUTE,
  totalMs: 30 * MINUTE,
};
const PATIENT: BandTimeouts = {
  firstByteMs: 60 * MINUTE,
  idleMs: 10 * MINUTE,
  totalMs: 240 * MINUTE,
};

/**
 * What holds where a fleet says nothing. An answer in one piece has its first byte at its end, so the times to it are no
 * TTFT targets: undici's own 300 s were seen to kill long thinking (undici 7 defaults), and a prompt of a million tokens
 * may take minutes.
 */
export const DEFAULT_GATEWAY_POLICY: GatewayPolicy = {
  maxBodyBytes: mib(20),
  holdMs: 10_000,
  openPerTenant: 4096,
  timeouts: {
    critical: URGENT,
    interactive: URGENT,
    standard: { firstByteMs: 15 * MINUTE, idleMs: 5 * MINUTE, totalMs: 60 * MINUTE },
    batch: PATIENT,
    best_effort: PATIENT,
  },
};
