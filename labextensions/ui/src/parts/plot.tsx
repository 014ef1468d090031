/** Time series by uPlot, in the theme's colours. */
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import { useWords } from '../i18n';

export interface Series {
  label: string;
  values: (number | null)[];
}

/** Seconds the time axis shows at least. */
const WINDOW = 60;
const POWERS = Array.from({ length: 50 }, (_, index) => 2 ** index);
const LINES = ['--jp-brand-color1', '--jp-success-color1', '--jp-warn-color1', '--jp-accent-color1', '--jp-error-color1'];

export function Plot(props: { label: string; times: number[]; series: Series[]; format: (value: number) => string; top?: number; height?: number; binary?: boolean }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const format = useRef(props.format);
  format.current = props.format;
  const { language } = useWords();
  const clock = useRef<(time: number) => string>(() => '');
  clock.current = time => new Date(time * 1000).toLocaleTimeString(language, { hourCycle: 'h23' });
  const names = props.series.map(series => series.label).join('\u0000');
  const data: uPlot.AlignedData = [props.times, ...props.series.map(series => series.values)];
  const last = props.series.map(series => `${series.label} ${props.format(series.values.at(-1) ?? 0)}`).join(', ');

  useEffect(() => {
    const box = frame.current;
    if (!box) return;
    const style = getComputedStyle(box);
    const colour = (name: string): string => style.getPropertyValue(name).trim() || '#888';
    const axis = { stroke: colour('--jp-ui-font-color2'), grid: { stroke: colour('--jp-border-color2'), width: 1 }, ticks: { stroke: colour('--jp-border-color2'), width: 1 } };
    const made = new uPlot(
      {
        width: box.clientWidth || 400,
        height: props.height ?? 140,
        cursor: { y: false },
        legend: { show: props.series.length > 1, live: true },
        scales: { x: { time: true, range: (_plot, min, max) => [Math.min(min, max - WINDOW), max] }, y: { range: (_plot, _min, max) => [0, Math.max(props.top ?? 0, max || 1)] } },
        axes: [
          { ...axis, space: 90, values: (_plot, marks) => marks.map(mark => clock.current(mark)) },
          { ...axis, size: 72, incrs: props.binary ? POWERS : undefined, values: (_plot, marks) => marks.map(mark => format.current(mark)) }
        ],
        series: [
          {},
          ...props.series.map((series, index) => ({
            label: series.label,
            stroke: colour(LINES[index % LINES.length]),
            width: 1.5,
            points: { show: false },
            value: (_plot: uPlot, value: number | null) => (value === null ? '–' : format.current(value))
          }))
        ]
      },
      data,
      box
    );
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height: props.height ?? 140 }));
    watch.observe(box);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [names, props.top, props.height]);

  useEffect(() => plot.current?.setData(data), [props.times]);
  return (
    <figure className="lt-plot">
      <figcaption>
        {props.label}
        <span className="lt-number">{props.series.length === 1 ? props.format(props.series[0].values.at(-1) ?? 0) : ''}</span>
      </figcaption>
      <div ref={frame} role="img" aria-label={`${props.label}: ${last}`} />
    </figure>
  );
}
