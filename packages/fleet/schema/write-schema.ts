// Writes the JSON Schema that editors use, from the zod schema: npm run -w @aim-gpu/fleet schema
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fleetJsonSchema } from '@aim-gpu/fleet';

const file = path.join(import.meta.dirname, 'fleet.v1alpha1.json');
writeFileSync(file, `${JSON.stringify(fleetJsonSchema(), null, 2)}\n`);
