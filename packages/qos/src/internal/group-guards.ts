/**
 * Which guard an endpoint belongs to, whatever model it serves: endpoints of one group share one, an endpoint without a
 * group has its own. Owns the lookup and the turning of tempos into what a guard understands.
 */
import { bandRank } from '../bands.js';
import { createDeviceGroup, type DeviceGroup } from '../device-group.js';
import type { EndpointCapacity } from '../endpoint-capacity.js';

/** Bands whose tokens are guarded. */
export const GUARDED_RANK: number = bandRank('interactive');

export class GroupGuards {
  readonly #groups: Map<string, DeviceGroup> = new Map();
  readonly #known: Map<EndpointCapacity, DeviceGroup> = new Map();

  of(capacity: EndpointCapacity): DeviceGroup {
    return this.#known.get(capacity) ?? this.#find(capacity);
  }

  /** Forgets groups without endpoints. */
  keep(capacities: Iterable<EndpointCapacity>): void {
    this.#known.clear();
    const used = new Set<DeviceGroup>();
    for (const capacity of capacities) used.add(this.of(capacity));
    for (const [key, group] of this.#groups) if (!used.has(group)) this.#groups.delete(key);
  }

  #find(capacity: EndpointCapacity): DeviceGroup {
    // A group's name and an endpoint's id never meet.
    const key = capacity.group === null ? `endpoint:${capacity.id}` : `group:${capacity.group}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = createDeviceGroup();
      this.#groups.set(key, group);
    }
    this.#known.set(capacity, group);
    return group;
  }
}
