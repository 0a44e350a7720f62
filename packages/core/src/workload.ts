/**
 * Desired state: the fleet a user asks for, with every default filled in. `fleet` makes it from a file;
 * everything else only reads it. An absent wish is an explicit null or empty list; the few keys that may be absent altogether
 * came later, and `fleet` always fills them in.
 */
import type { CardId, HiveId, NodeName, TenantName, WorkloadName } from './ids.js';
import type { Bytes, Ratio } from './units.js';

/** Request priority class of a model, a tenant or a request, most urgent first. */
export type Band = 'critical' | 'interactive' | 'standard' | 'batch' | 'best_effort';
/** Every band, most urgent first; the index is the rank. */
export const BANDS: readonly Band[] = [
  'critical',
  'interactive',
  'standard',
  'batch',
  'best_effort',
];

/** What a workload does. */
export type WorkloadKind = 'inference' | 'guardrail' | 'finetune';
/** Planner preset. */
export type Objective = 'pack' | 'spread' | 'latency' | 'stable';

/** Latency targets; null where none is set. */
export interface Slo {
  readonly ttftMs: number | null;
  readonly tpotMs: number | null;
  readonly e2eMs: number | null;
  /** Share of requests that must meet the targets. */
  readonly objective: Ratio;
}

/** What traffic is expected. */
export interface ExpectedLoad {
  readonly requestsPerSecond: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** Which engine runs a workload. */
export interface EngineChoice {
  /** `auto`, `vllm`, `sglang`, `llama.cpp`, `simulated`. */
  readonly name: string;
  readonly version: string | null;
  /** Long flag without dashes → value; null is a bare flag. */
  readonly args: Readonly<Record<string, unknown>>;
}

/** What instances of a workload are spread over. */
export type SpreadTopology = 'node' | 'card' | 'hive';

/** How evenly the instances of one workload are spread. */
export interface SpreadWish {
  readonly over: SpreadTopology;
  /** Most that one node, card or hive may have more of them than another that could take one. */
  readonly maxSkew: number;
}

/** Which model a guardrail guards. */
export interface GuardWish {
  readonly model: WorkloadName;
  /** An instance of the model must be on the same card, or on the same node. */
  readonly within: 'card' | 'node';
}

/** Where a workload may, should or must run. */
export interface PlacementWish {
  /** A partition of its own. */
  readonly exclusive: boolean;
  readonly products: readonly string[];
  readonly nodes: readonly NodeName[];
  readonly near: readonly WorkloadName[];
  readonly apart: readonly WorkloadName[];
  readonly pin: {
    readonly node: NodeName;
    readonly card: CardId;
    readonly partition: number | null;
  } | null;
  readonly minShareBytes: Bytes | null;
  /** Null and absent: anywhere. */
  readonly spread?: SpreadWish | null;
  /** True: once it runs it stays exactly where it is. Absent is false. */
  readonly protected?: boolean;
}

/** What the user wants to run: one model with its precision, context, concurrency, replicas, SLO and band. */
export interface Workload {
  readonly name: WorkloadName;
  readonly aliases: readonly string[];
  /** Catalogue id, or absolute path of a config.json or model directory. */
  readonly source: string;
  readonly kind: WorkloadKind;
  /** `auto`, `bf16`, `fp16`, `fp32`. */
  readonly dtype: string;
  /** `auto`, `none`, `fp8`, `int8`, `awq`, `gptq`, `mxfp4`, `nvfp4`, `gguf:<type>`, … */
  readonly quantization: string;
  readonly kvCacheDtype: string;
  /** Tokens of one sequence, prompt and answer; null means the smaller of the model's own limit and 32768. */
  readonly maxModelLen: number | null;
  readonly concurrency: number;
  readonly expectedFill: Ratio;
  readonly load: ExpectedLoad | null;
  readonly replicas: { readonly min: number; readonly max: number; readonly idleMs: number | null };
  readonly band: Band;
  readonly slo: Slo;
  readonly engine: EngineChoice;
  readonly parallel: { readonly tensor: number; readonly pipeline: number };
  readonly fallback: WorkloadName | null;
  readonly adapters: readonly { readonly name: string; readonly path: string }[];
  readonly placement: PlacementWish;
  /** Whose quota its instances count against; null and absent: nobody's. */
  readonly tenant?: TenantName | null;
  /** Workloads of one gang are all placed, every instance of them, or none is. */
  readonly gang?: string | null;
  /** Of a guardrail: the model that it must be beside. */
  readonly of?: GuardWish | null;
  /** How long it runs at most once it has started; null and absent: without end. */
  readonly durationMs?: number | null;
  /** What it gives all tenants together; absent: unlimited. */
  readonly limits?: TenantLimits;
}

/** Where a tenant's key comes from; the key itself never enters the fleet. */
export type KeySource =
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'sha256'; readonly digest: string };

/** Limits of a tenant, of a model for all tenants together, or of a tenant on one model; null is unlimited. */
export interface TenantLimits {
  readonly requestsPerMinute: number | null;
  readonly inputTokensPerMinute: number | null;
  readonly outputTokensPerMinute: number | null;
  readonly concurrent: number | null;
}

/** What the instances of a tenant's models may take of the fleet's memory, all their shares together. */
export interface TenantQuota {
  /** Its own part: nobody else's want comes before it. */
  readonly memoryBytes: Bytes;
  /** Most that it may take beyond its part while others leave theirs unused; null is any amount, 0 nothing. */
  readonly borrowBytes: Bytes | null;
  /** Of its part: never lent, and a plan that misses it is worth less (level 3 of the objective). */
  readonly guaranteedBytes: Bytes;
}

/** Who pays for a request. */
export interface Tenant {
  readonly name: TenantName;
  readonly keys: readonly KeySource[];
  readonly weight: number;
  readonly bands: readonly Band[];
  readonly limits: TenantLimits;
  /** Beside them its own on single models, by the model's name; absent: none. */
  readonly modelLimits?: Readonly<Record<string, TenantLimits>>;
  /** Null and absent: no quota; its models neither borrow nor lend. */
  readonly quota?: TenantQuota | null;
}

/** Longest times of one request, in milliseconds. */
export interface BandTimeouts {
  /** From sending to the first byte of the answer. */
  readonly firstByteMs: number;
  /** Between two pieces of an answer, and for a client that does not read. */
  readonly idleMs: number;
  /** From the request read to the last byte. */
  readonly totalMs: number;
}

/** Bounds of requests at the gateway. */
export interface GatewayPolicy {
  /** Largest body of a request. */
  readonly maxBodyBytes: Bytes;
  /** Longest wait for a model that has no ready instance now. */
  readonly holdMs: number;
  /** Requests that one tenant may have open at the same time, streams and waiting ones. */
  readonly openPerTenant: number;
  readonly timeouts: Readonly<Record<Band, BandTimeouts>>;
}

/** What the planner may do and must keep, and the gateway. */
export interface Policy {
  readonly objective: Objective;
  readonly repartition: { readonly allow: boolean; readonly maxDowntimeMs: number };
  /** Of each partition, never handed out. */
  readonly memoryReserve: Ratio;
  /** Most that co-tenants of a partition may cost a critical or interactive model, as a ratio of its TPOT alone. */
  readonly slowdown: Ratio;
  /** Bounds of requests at the gateway; absent: `DEFAULT_GATEWAY_POLICY`. */
  readonly gateway?: GatewayPolicy;
}

/** One card of a simulated node. */
export interface SimulatedCard {
  readonly id: CardId;
  readonly product: string;
  readonly hive: HiveId;
}

/** A node of the fleet. Cards are listed for simulated nodes only; a real driver discovers them. */
export interface FleetNode {
  readonly name: NodeName;
  readonly driver: 'simulated' | 'rocm';
  readonly cards: readonly SimulatedCard[];
  /** Cards that take nothing new and keep their layout; what runs there stays. Absent is none. */
  readonly cordoned?: 'all' | readonly CardId[];
  /** Price of one card for one hour, in whatever currency the file means; null and absent: not told. */
  readonly cardPricePerHour?: number | null;
}

/** The whole desired state. */
export interface Fleet {
  readonly name: string;
  readonly nodes: readonly FleetNode[];
  readonly models: readonly Workload[];
  readonly tenants: readonly Tenant[];
  readonly policy: Policy;
}
