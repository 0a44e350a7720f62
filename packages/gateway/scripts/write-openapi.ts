// Writes the committed OpenAPI document of the admin face: `npm run openapi` in this package. A test fails when it is
// stale.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { adminDocument } from '../src/admin-app.js';

const folder = path.resolve(import.meta.dirname, '../openapi');
mkdirSync(folder, { recursive: true });
const text = `${JSON.stringify(adminDocument(), null, 2)}\n`;
writeFileSync(path.join(folder, 'gateway-admin.v1alpha1.json'), text);
