/**
 * Adapters of core's ports to the host: state on disk, a shared device over a unix socket.
 *
 * @packageDocumentation
 */
export { createFileStateStore, type FileStateStoreOptions } from './file-state-store.js';
