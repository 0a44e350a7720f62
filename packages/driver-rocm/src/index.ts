/**
 * Reads the AMD GPUs of a real node from sysfs and KFD.
 *
 * @packageDocumentation
 */
export { createRocmDriver, type RocmDriverOptions } from './rocm-driver.js';
