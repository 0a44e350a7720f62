/**
 * The queue as its rules say it, by scanning everything: strict bands, VTC between tenants, earliest deadline within
 * one. Slow and plain on purpose; what a fast queue is compared with.
 */

/** An item as the oracle keeps it. */
export interface OracleItem {
  readonly id: number;
  readonly rank: number;
  readonly tenant: string;
  readonly cost: number;
  readonly deadlineMs: number;
  readonly expiresMs: number;
}

interface Tenant {
  counter: number;
  floor: number;
  weight: number;
  turn: number;
}

export class QueueOracle {
  waiting: OracleItem[] = [];
  readonly #tenants: Map<string, Tenant> = new Map();
  readonly #virtual: number[] = [0, 0, 0, 0, 0];
  #turn: number = 0;

  offer(item: OracleItem, weight: number): void {
    const tenant = this.#tenant(item);
    tenant.weight = weight;
    this.#enter(item, tenant);
  }

  /** Id of the item whose turn it is; null when nothing waits. */
  next(): number | null {
    const rank = Math.min(...this.waiting.map((item) => item.rank));
    const inBand = this.waiting.filter((item) => item.rank === rank);
    const first = inBand.toSorted((a, b) => {
      const one = this.#tenant(a);
      const other = this.#tenant(b);
      const byTenant = one === other ? 0 : one.counter - other.counter || one.turn - other.turn;
      return byTenant || a.deadlineMs - b.deadlineMs || a.id - b.id;
    })[0];
    return first?.id ?? null;
  }

  take(item: OracleItem): void {
    const tenant = this.#tenant(item);
    this.#virtual[item.rank] = Math.max(this.#virtual[item.rank] as number, tenant.counter);
    this.remove(item);
    this.#charge(item, Math.max(1, item.cost));
  }

  settle(item: OracleItem, actualCost: number): void {
    this.#charge(item, actualCost - Math.max(1, item.cost));
  }

  restore(item: OracleItem): void {
    this.#charge(item, -Math.max(1, item.cost));
    this.#enter(item, this.#tenant(item));
  }

  remove(item: OracleItem): void {
    const before = this.#virtualTime(item.rank);
    this.waiting = this.waiting.filter((other) => other !== item);
    if (!this.#waits(item)) this.#virtual[item.rank] = before;
  }

  /** Ids of what has waited too long. */
  expired(nowMs: number): readonly OracleItem[] {
    return this.waiting.filter((item) => item.expiresMs <= nowMs);
  }

  #tenant({ rank, tenant: name }: OracleItem): Tenant {
    const key = `${rank}/${name}`;
    let tenant = this.#tenants.get(key);
    if (tenant === undefined) {
      const counter = this.#virtualTime(rank);
      tenant = { counter, floor: counter, weight: 1, turn: 0 };
      this.#tenants.set(key, tenant);
    }
    return tenant;
  }

  #waits({ rank, tenant }: OracleItem): boolean {
    return this.waiting.some((other) => other.rank === rank && other.tenant === tenant);
  }

  #enter(item: OracleItem, tenant: Tenant): void {
    if (!this.#waits(item)) {
      const now = this.#virtualTime(item.rank);
      tenant.floor = now;
      tenant.counter = Math.max(tenant.counter, now);
      this.#turn += 1;
      tenant.turn = this.#turn;
    }
    this.waiting.push(item);
  }

  #charge(item: OracleItem, cost: number): void {
    if (cost === 0) return;
    const tenant = this.#tenant(item);
    const counter = tenant.counter + cost / tenant.weight;
    tenant.counter = cost < 0 ? Math.max(counter, Math.min(tenant.counter, tenant.floor)) : counter;
    if (!this.#waits(item)) return;
    this.#turn += 1;
    tenant.turn = this.#turn;
  }

  #virtualTime(rank: number): number {
    const counters = this.waiting
      .filter((item) => item.rank === rank)
      .map((item) => this.#tenants.get(`${rank}/${item.tenant}`)?.counter ?? 0);
    const least = counters.length === 0 ? 0 : Math.min(...counters);
    return Math.max(this.#virtual[rank] as number, least);
  }
}
