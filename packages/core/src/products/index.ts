/**
 * GPU products as sourced data: the only copy of what each product is and which layouts its rules allow.
 * @packageDocumentation
 */
export { findProduct, findProductByPciId, isVirtualPciId, PRODUCTS } from './catalogue.js';
export {
  type LayoutGrade,
  type PartitionGeometry,
  type Product,
  type ProductLayout,
  type ProductPeaks,
  partitionGeometry,
  productLayout,
} from './product.js';
