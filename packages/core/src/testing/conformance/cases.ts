/**
 * The conformance cases of a machine, made from what its product allows. Data: each says what is done and what must come
 * of it. Sources of the rules are in core/products and in the port's contract.
 */
import { findProduct } from '../../products/catalogue.js';
import type { ConformanceCase, ConformanceMachine } from './case.js';
import { faultCases } from './fault-cases.js';
import { discoveryCases, identityCases, orderCases, switchCases } from './layout-cases.js';
import { lifeCases, togetherCases } from './life-cases.js';
import { busyCases, refusalCases } from './refusal-cases.js';

/** Every case for a machine, in a fixed order. Throws nothing; an unknown product has no cases. */
export function conformanceCases(machine: ConformanceMachine): readonly ConformanceCase[] {
  const product = findProduct(machine.product);
  if (product === null) return [];
  return [
    ...discoveryCases(product),
    ...switchCases(product),
    ...orderCases(product),
    ...busyCases(product, machine),
    ...refusalCases(product),
    ...faultCases(product, machine),
    ...identityCases(product),
    ...lifeCases(product),
    ...togetherCases(product, machine),
  ];
}
