/**
 * What no published measurement settles, as data: default, range and grade of each assumption about partitions,
 * co-tenants and KV pools. A deployment that knows better passes its own; the defaults are printed with predictions.
 */

/** How an assumption is supported: V vendor's measurement, T third party's, P paper, A none. */
export type AssumptionGrade = 'V' | 'T' | 'P' | 'A';

/** One assumption with the range within which the truth is expected. */
export interface Assumption {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly grade: AssumptionGrade;
  readonly text: string;
}

/** Every assumption of the speed model that can be replaced. */
export interface PerformanceAssumptions {
  /** Bandwidth of a partition in NPS4 against its share n/N of the card. */
  readonly nps4Bandwidth: Assumption;
  /** Bandwidth of an XCD in NPS4 while the other XCD of its IO die is idle, against both busy. */
  readonly nps4IdleNeighbour: Assumption;
  /** Bandwidth of a CU mask inside a partition, as a multiple of its share of CUs, at most 1. */
  readonly cuMaskBandwidth: Assumption;
  /** Extra step time for each busy engine on the same partition, without a mask. */
  readonly samePartition: Assumption;
  /** Extra step time when other partitions of the card are busy, NPS1. */
  readonly otherPartitionsNps1: Assumption;
  /** Extra step time when other partitions of the card are busy, NPS2. */
  readonly otherPartitionsNps2: Assumption;
  /** Extra step time when other partitions of the card are busy, NPS4 and NPS8. */
  readonly otherPartitionsNps4: Assumption;
}

/** The defaults, with the evidence for each in `text`. */
export const DEFAULT_ASSUMPTIONS: PerformanceAssumptions = {
  nps4Bandwidth: {
    value: 1.05,
    low: 1,
    high: 1.1,
    grade: 'V',
    text: 'bandwidth in NPS4 is 5 % above the share n/N (stream totals 4210 against 4010 GB/s, rocm-blogs compute-memory-modes)',
  },
  nps4IdleNeighbour: {
    value: 2,
    low: 1,
    high: 2,
    grade: 'V',
    text: 'in NPS4 an XCD draws the whole bandwidth of its IO die while the die neighbour is idle (rocm-blogs compute-memory-modes); plans do not count on it',
  },
  cuMaskBandwidth: {
    value: 2,
    low: 1,
    high: 3,
    grade: 'A',
    text: 'a CU mask reaches twice its share of the bandwidth, at most all of it',
  },
  samePartition: {
    value: 0.9,
    low: 0,
    high: 1.2,
    grade: 'A',
    text: 'engines on one partition slow each other down by 0.9 of the other one’s busy share; no measurement of two LLM engines on one MI300 was found',
  },
  otherPartitionsNps1: {
    value: 0.05,
    low: 0,
    high: 0.2,
    grade: 'A',
    text: 'busy neighbours on other partitions cost 5 % in NPS1, where all share HBM and Infinity Cache',
  },
  otherPartitionsNps2: {
    value: 0.05,
    low: 0,
    high: 0.2,
    grade: 'A',
    text: 'busy neighbours on other partitions cost 5 % in NPS2',
  },
  otherPartitionsNps4: {
    value: 0.02,
    low: 0,
    high: 0.2,
    grade: 'A',
    text: 'busy neighbours on other partitions cost 2 % in NPS4, where each quadrant has its own HBM stacks',
  },
};
