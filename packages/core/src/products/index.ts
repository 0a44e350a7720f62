/**
 * GPU products as sourced data: the only copy of what each product is and which layouts its rules allow.
 * @packageDocumentation
 */
export { findProduct, findProductByPciId, PRODUCTS } from './catalogue.js';
export {
  type LayoutGrade,
  type PartitionGeometry,
  partitionGeometry,
  type Product,
  type ProductLayout,
  type ProductPeaks,
  productLayout,
} from './product.js';
