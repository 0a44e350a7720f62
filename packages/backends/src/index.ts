/**
 * Starts, watches and stops inference engines: vLLM, SGLang, llama.cpp and a simulated one.
 *
 * @packageDocumentation
 */
export { createProcessLauncher, type ProcessLauncherOptions } from './launcher/process-launcher.js';
