/**
 * Adapters of core's ports to the host: state on disk, a shared device over a unix socket.
 *
 * @packageDocumentation
 */
export { type ProcessStart, readProcessStart } from '../internal/process-identity.js';
export { createFileStateStore, type FileStateStoreOptions } from './file-state-store.js';
export {
  createSharedDeviceClient,
  type SharedDeviceClientOptions,
} from './shared-device-client.js';
export { type ServeSharedDeviceOptions, serveSharedDevice } from './shared-device-server.js';
