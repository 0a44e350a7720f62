/** Name of the file in the directory. A directory that has it may be written over. */
export declare const MARKER = ".aim-gpu-simulated-machine";
/** The text of the file. */
export declare function toMarkerText(deviceSocket: string): string;
/**
 * Where engines that run on the tree of a simulated machine find its device, so that they take memory and hold cards as
 * engines on real ones do. Null for a directory that is no such tree.
 */
export declare function readDeviceSocket(directory: string): string | null;
//# sourceMappingURL=tree-marker.d.ts.map