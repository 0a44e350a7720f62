import { describe, expect, it } from 'vitest';
import { silentLogger, silentMetrics } from '../../src/index.js';
import { createRecordingLogger, createRecordingMetrics } from '../../src/testing/index.js';

describe('recording doubles', () => {
  it('remember log events of every level', () => {
    const logger = createRecordingLogger();
    logger.debug('plan-made');
    logger.info('engine-ready', { port: 1 });
    logger.warn('engine-slow');
    logger.error('engine-died');
    expect(logger.records.map((record) => `${record.level} ${record.event}`)).toEqual([
      'debug plan-made',
      'info engine-ready',
      'warn engine-slow',
      'error engine-died',
    ]);
    expect(logger.records[1]?.fields).toEqual({ port: 1 });
  });

  it('remember metric calls', () => {
    const metrics = createRecordingMetrics();
    metrics.count('aim_gpu_x_total', { model: 'chat' });
    metrics.gauge('aim_gpu_y', {}, 4);
    metrics.clear('aim_gpu_y', {});
    metrics.observe('aim_gpu_z_seconds', {}, 0.5);
    expect(metrics.records.map(({ kind, value }) => [kind, value])).toEqual([
      ['count', 1],
      ['gauge', 4],
      ['clear', null],
      ['observe', 0.5],
    ]);
  });

  it('have silent counterparts with the same methods', () => {
    expect(Object.keys(silentLogger).sort()).toEqual(['debug', 'error', 'info', 'warn']);
    expect(Object.keys(silentMetrics).sort()).toEqual(['clear', 'count', 'gauge', 'observe']);
    expect(silentLogger.info('anything')).toBeUndefined();
    expect(silentMetrics.count('anything', {})).toBeUndefined();
  });
});
