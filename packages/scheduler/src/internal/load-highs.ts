/**
 * Loads HiGHS when it is first needed: 3.5 MB of WebAssembly that most plans never touch.
 */
import type { Highs } from 'highs';

/** A solver of linear and mixed-integer programs. */
export async function loadHighs(): Promise<Highs> {
  // Its types describe the CommonJS build, while an import gets the ES module, whose default is the loader itself.
  const { default: load } = (await import('highs')) as unknown as {
    readonly default: () => Promise<Highs>;
  };
  return load();
}
