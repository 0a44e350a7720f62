/**
 * Ports around engine processes: the envelope an instance runs in, the engine that turns it into a command, the
 * launcher that runs commands, and the directory through which the gateway finds what serves a model.
 */
import type { CallOptions } from './abort.js';
import type { Demand } from './demand.js';
import type { CardId, InstanceId, NodeName, WorkloadName } from './ids.js';
import type { Share } from './plan.js';
import type { Bytes, EpochMs } from './units.js';
import type { Band, Slo, TenantLimits, Workload } from './workload.js';

/** Whether a limit holds against a hostile process, holds for a well-behaved one, or cannot be had on this host. */
export type IsolationStrength = 'hard' | 'cooperative' | 'unavailable';

/** One isolation measure of an envelope and how strong it is here. */
export interface IsolationMeasure {
  /** `visible-devices`, `device-nodes`, `memory-limit`, `cu-mask`, … */
  readonly name: string;
  readonly strength: IsolationStrength;
  readonly detail: string;
}

/** What one rank of an instance may use. */
export interface EnvelopeShare extends Share {
  readonly partitionMemoryBytes: Bytes;
  readonly renderMinor: number | null;
}

/** The walls around one instance: what its process sees and how much it may take. */
export interface LaunchEnvelope {
  readonly instance: InstanceId;
  readonly shares: readonly EnvelopeShare[];
  readonly env: Readonly<Record<string, string>>;
  /** Device files the process needs, and no others. */
  readonly deviceFiles: readonly string[];
  /** Fraction of each partition's memory for engines that take one (vLLM, SGLang). */
  readonly gpuMemoryUtilization: number;
  /** KV cache bytes of each rank, for engines that take them (vLLM's --kv-cache-memory-bytes). */
  readonly kvCacheMemoryBytes: Bytes;
  readonly measures: readonly IsolationMeasure[];
}

/** Everything an engine needs to know to start one instance. */
export interface InstanceSpec {
  readonly instance: InstanceId;
  readonly workload: Workload;
  readonly demand: Demand;
  readonly envelope: LaunchEnvelope;
  readonly host: string;
  readonly port: number;
}

/** A command with its environment; argv[0] is the program. Never a shell string. */
export interface LaunchCommand {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What an engine says of itself at one moment. */
export interface EngineSample {
  readonly running: number;
  readonly waiting: number;
  /** Share of the KV cache in use, 0 to 1. */
  readonly kvUsage: number;
  readonly kvCapacityTokens: number | null;
  readonly preemptionsTotal: number;
  readonly promptTokensTotal: number;
  readonly generationTokensTotal: number;
}

/** One kind of engine: how to start it and how to talk to it. Holds no process. */
export interface ServingEngine {
  readonly specVersion: 1;
  /** `vllm`, `sglang`, `llama.cpp`, `simulated`. */
  readonly name: string;
  /** The command that starts an instance inside its envelope. Pure. */
  toCommand(spec: InstanceSpec): LaunchCommand;
  /** Whether the engine answers its health check now. Never throws for a connection error. */
  isReady(endpoint: EndpointAddress, options?: CallOptions): Promise<boolean>;
  /** Reads the engine's counters. Throws `ERR_ENGINE_UNREACHABLE` (unavailable). */
  sample(endpoint: EndpointAddress, options?: CallOptions): Promise<EngineSample>;
  /** The cause and one fix, when the engine's last words are a known failure. */
  explainExit(
    lastOutput: readonly string[],
  ): { readonly message: string; readonly hint: string } | null;
}

/** Where an engine listens. */
export interface EndpointAddress {
  readonly host: string;
  readonly port: number;
}

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly at: EpochMs;
}

/**
 * What proves later that a process is the very one that was started: pids are given out again, so a pid alone proves
 * nothing.
 */
export interface ProcessMark {
  readonly pid: number;
  /** Clock ticks from boot to its start; null where the host does not say. */
  readonly startTicks: string | null;
  /** The boot those ticks count from; null where the host does not say. */
  readonly bootId: string | null;
  /** Random text in its environment. */
  readonly nonce: string;
  /** SHA-256 of its argument list, hexadecimal: arguments may hold secrets. */
  readonly argvSha256: string;
}

/** A process that runs. */
export interface RunningProcess {
  readonly pid: number;
  /** What to find it again by; left out by launchers that cannot adopt. */
  readonly mark?: () => ProcessMark;
  /** Stops watching it and lets it run on; only of launchers that adopt. `exited` may never resolve then. */
  readonly leave?: () => void;
  readonly exited: Promise<ProcessExit>;
  /** The last lines it printed, oldest first, bounded. */
  lastOutput(): readonly string[];
  /** Asks it to stop, waits `graceMs`, then kills it and everything it started. Idempotent. */
  stop(options: { readonly graceMs: number }): Promise<ProcessExit>;
}

/** Options of {@link Launcher.launch}. */
export interface LaunchOptions extends CallOptions {
  readonly name: string;
  readonly logFile: string | null;
  /**
   * Called, by launchers that can adopt, when the process exists and does not run the command yet: what is written
   * down here is known of every command that ever ran. The command never runs when this throws.
   */
  readonly beforeRun?: (mark: ProcessMark) => Promise<void>;
}

/** Runs commands; processes today, containers and pods later. What it starts must not outlive it, unless it adopts. */
export interface Launcher {
  readonly specVersion: 1;
  /** Starts a command. Throws `ERR_LAUNCH_FAILED` (unavailable) when it cannot be started at all. */
  launch(command: LaunchCommand, options: LaunchOptions): Promise<RunningProcess>;
  /**
   * Takes over a process that an earlier launcher started and that outlived it; null when it has ended, or when its
   * pid belongs to another process now. Only launchers whose processes outlive them have it.
   */
  adopt?(
    mark: ProcessMark,
    options: { readonly name: string; readonly logFile: string | null },
  ): Promise<RunningProcess | null>;
  /**
   * Ends every process that this launcher's owner ever started, by earlier launchers too, but those marked. Resolves to
   * their number. Only launchers that adopt have it.
   */
  reclaim?(keep: readonly ProcessMark[]): Promise<number>;
}

/** One instance that serves a model now. */
export interface Endpoint {
  readonly instance: InstanceId;
  readonly workload: WorkloadName;
  readonly address: EndpointAddress;
  readonly node: NodeName;
  readonly card: CardId;
  readonly partition: number;
  /** `ready` takes new requests; `draining` finishes those it has. */
  readonly state: 'ready' | 'draining';
  readonly maxNumSeqs: number;
  readonly kvCapacityTokens: number | null;
}

/** A model as clients may name it. */
export interface ServedModel {
  readonly workload: WorkloadName;
  readonly aliases: readonly string[];
  readonly adapters: readonly string[];
  readonly band: Band;
  readonly fallback: WorkloadName | null;
  readonly maxModelLen: number;
  /** True while it is stopped because nobody asked for it: the next {@link EndpointDirectory.request} starts it. */
  readonly parked?: boolean;
  /** Targets its requests are judged by; its band's when left out or all null. */
  readonly slo?: Slo;
  /** What it gives all tenants together; unlimited when left out. */
  readonly limits?: TenantLimits;
}

/** Which endpoints serve a model now. The agent fills it, the gateway reads it. */
export interface EndpointDirectory {
  /** Every model that may be asked for, served now or not. */
  models(): readonly ServedModel[];
  /** Endpoints of a workload. */
  endpoints(workload: WorkloadName): readonly Endpoint[];
  /**
   * Wakes a parked model: resolves when an endpoint is ready. Throws `ERR_MODEL_UNAVAILABLE`
   * (unavailable, with retryAfterMs) when none will be in time.
   */
  request(workload: WorkloadName, options?: CallOptions): Promise<void>;
  /** Calls back whenever models or endpoints change, until the returned function is called. */
  subscribe(onChange: () => void): () => void;
}
