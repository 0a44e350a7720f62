/** How long changes take and are waited for, on real machines. Data only. */

/** Times of a change, in milliseconds. */
export interface ChangeTiming {
  /** Between two tries of a write that found the card busy with nobody to be seen. */
  readonly busyRetryMs: number;
  /** How long such a write is tried again. */
  readonly busyForMs: number;
  /** Between two looks while the devices of a new mode appear. */
  readonly settleLookMs: number;
  /** How long they are waited for. */
  readonly settleForMs: number;
  /** The longest that one write or one run of a tool may take. */
  readonly switchTimeoutMs: number;
  /** The longest that unloading or loading the driver may take, and its cards appearing afterwards. */
  readonly reloadTimeoutMs: number;
}

/**
 * Measured by AMD-AGI/Hyperloom on MI355X: devices appear 1 to 2 s after a compute switch and are settled after 5 s;
 * a card is freed up to 120 s after its last process ended and is tried every 2 s; a switch may take 120 s. A reload
 * took up to 140 s (progress of amd-smi of ROCm 6.4).
 */
export const REAL_TIMING: ChangeTiming = {
  busyRetryMs: 2000,
  busyForMs: 120_000,
  settleLookMs: 500,
  settleForMs: 5000,
  switchTimeoutMs: 120_000,
  reloadTimeoutMs: 140_000,
};
