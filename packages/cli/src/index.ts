/**
 * The aim-gpu command.
 *
 * @packageDocumentation
 */
export { main } from './main.js';
