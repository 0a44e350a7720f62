// Writes the committed OpenAPI document and the types of a client generated from it:
// `npm run openapi` in this package. A test fails when either is stale.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { apiDocument } from '@aim-gpu/agent';
import openapiTS, { astToString, type OpenAPI3 } from 'openapi-typescript';

const root = path.resolve(import.meta.dirname, '..');
const document = await apiDocument();
writeFileSync(
  path.join(root, 'openapi/agent.v1alpha1.json'),
  `${JSON.stringify(document, null, 2)}\n`,
);
const types = astToString(await openapiTS(document as unknown as OpenAPI3));
writeFileSync(path.join(root, 'test/fixtures/agent-api.d.ts'), types);
