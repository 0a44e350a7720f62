/**
 * Turns a placement into launch limits, and says and checks how hard each limit is.
 *
 * @packageDocumentation
 */
export {};
