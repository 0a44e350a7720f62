// What the bench uses of peers that ship no types, or do not export what is compared.
declare module 'async' {
  interface PriorityQueue<T> {
    pushAsync(item: T, priority: number): Promise<unknown>;
  }
  const async: {
    priorityQueue<T>(
      worker: (item: T, done: () => void) => void,
      concurrency: number,
    ): PriorityQueue<T>;
  };
  export default async;
}
declare module 'p-queue/priority-queue' {
  /** The class p-queue keeps its waiting items in; the bench bundles its file under this name. */
  export default class PriorityQueue {
    enqueue(run: () => Promise<unknown>, options: { priority: number; id?: string }): void;
    dequeue(): unknown;
    remove(id: string): void;
  }
}
