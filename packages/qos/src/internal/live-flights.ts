/**
 * The permits that hold an endpoint. Owns who is among them; adding and removing touch one place each, whatever the
 * number.
 */
import type { Flight } from './flight.js';

export class LiveFlights {
  readonly #flights: Flight[] = [];

  get size(): number {
    return this.#flights.length;
  }

  add(flight: Flight): void {
    flight.liveIndex = this.#flights.length;
    this.#flights.push(flight);
  }

  /** Whoever is not among them is left alone. */
  remove(flight: Flight): void {
    const { liveIndex } = flight;
    if (liveIndex < 0) return;
    flight.liveIndex = -1;
    const last = this.#flights.pop() as Flight;
    if (last === flight) return;
    this.#flights[liveIndex] = last;
    last.liveIndex = liveIndex;
  }

  /** Those of now, in no order; the list does not change with them. */
  list(): readonly Flight[] {
    return [...this.#flights];
  }
}
