/** What the services answer; the same nouns and fields as their REST. Times are ISO-8601 UTC, sizes bytes, money integer micro-units. */

export type Text = string | { en?: string; 'zh-CN'?: string };

export interface List<T> {
  items: T[];
  total: number;
}

export type Role = 'admin' | 'teacher' | 'assistant' | 'member' | 'viewer';

export interface MyTenant {
  slug: string;
  name: string;
  path: string[];
  kind: string;
  role: Role;
}

export interface Me {
  name: string;
  display_name: string;
  admin: boolean;
  tenants: MyTenant[];
  default_tenant: string | null;
  language: string;
  actions: Record<string, string[]>;
}

export interface Tenant {
  slug: string;
  name: string;
  kind: 'organisation' | 'department' | 'course' | 'project';
  parent: string | null;
  path: string[];
  depth: number;
  members: number;
  role: Role | null;
  /** Its part of what several tenants of a cluster borrow at once. */
  weight?: number;
  /** What the cluster says of its queue; null where there is no cluster. */
  cluster?: { ready: boolean; message: string } | null;
}

export interface Member {
  user: string;
  display_name: string;
  role: Role;
  inherited_from: string | null;
}

export interface Quota {
  tenant: string;
  tenant_name?: string;
  user: string | null;
  resource: string;
  limit: number | null;
  used: number;
  guaranteed?: number;
  /** Of what is used, more than is guaranteed. */
  borrowed?: number;
}

export interface User {
  name: string;
  display_name: string;
  admin: boolean;
  disabled: boolean;
  created_at: string;
  last_login_at: string | null;
  tenants: { slug: string; role: Role }[];
}

export interface Invite {
  link: string;
  expires_at: string;
}

export interface Flavor {
  name: string;
  title?: Text | null;
  cpu: number;
  memory: number;
  disk: number;
  accelerator: string;
  accelerator_count: number;
  accelerator_title: string;
  architecture: string;
  price_micro_per_hour: number;
  currency: string;
  simulated: boolean;
  available_now: boolean;
}

export interface Image {
  name: string;
  title: Text;
  framework: string;
  version: string;
  state: 'ready' | 'building' | 'absent' | 'failed';
  progress: number;
  message: string;
  requirements: string[];
}

export interface Profile {
  name: string;
  title: Text;
  description: Text;
  image: string;
  flavor: string;
  flavors: string[];
  images: string[];
  picture: string;
  ready: boolean;
  price_micro_per_hour: number;
  tenant: string;
}

export type Phase = 'queued' | 'starting' | 'running' | 'stopping' | 'stopped' | 'succeeded' | 'failed' | 'cancelled';

export interface Environment {
  id: number | string;
  name: string;
  display_name: string;
  user: string;
  tenant: string;
  profile: string;
  image: string;
  flavor: string;
  phase: Phase;
  reason: string;
  url: string;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  queue_position: number | null;
  price_micro_per_hour: number;
  currency?: string;
}

/** Over how many nodes a job can spread, and into which other clusters. */
export interface Spread {
  most_nodes: number;
  clusters: string[];
}

export interface Job {
  id: number;
  name: string;
  user: string;
  tenant: string;
  profile: string;
  image: string;
  flavor: string;
  nodes?: number;
  anywhere?: boolean;
  command: string[];
  cwd: string;
  phase: Phase;
  reason: string;
  exit_code: number | null;
  queue_position: number | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  duration_seconds: number | null;
  run_id: string | null;
  run_url: string | null;
  attempt: number;
  rerun_of: number | null;
  cost_micro: number;
  currency: string;
}

export interface JobMetrics {
  metrics: Record<string, number>;
  params: Record<string, string>;
  models: { model_id: string; name: string; framework: string }[];
}

export interface Event {
  at: string;
  noun?: string;
  noun_id?: string;
  from_phase: string | null;
  to_phase: string;
  reason: string;
  actor?: string;
}

export interface Model {
  name: string;
  tenant: string;
  latest_version: string | null;
  versions: number;
  framework: string;
  description: string;
  updated_at: string;
}

export interface ModelVersion {
  version: string;
  framework: string;
  framework_version: string;
  metrics: Record<string, number>;
  params: Record<string, string>;
  source: string;
  run_id: string | null;
  job_id: number | null;
  image: string;
  flavor: string;
  user: string;
  created_at: string;
  aliases: string[];
  endpoints: number[];
}

export interface ModelDetail extends Model {
  version_list: ModelVersion[];
}

export interface Endpoint {
  id: number;
  name: string;
  slug: string;
  user: string;
  tenant: string;
  model: string;
  version: string;
  image: string;
  flavor: string;
  instances: number;
  most_instances: number | null;
  ready_instances: number;
  phase: Phase;
  reason: string;
  address: string;
  infer_url: string;
  queue_position: number | null;
  max_seconds: number | null;
  stops_at: string | null;
  created_at: string;
  started_at: string | null;
  cost_micro: number;
  currency: string;
  signature: unknown;
  token?: string;
}

export interface Prediction {
  outputs?: { name: string; datatype?: string; shape?: number[]; data: unknown[] }[];
  predictions?: unknown;
  /** A row of numbers a row of input, in the order of `classes`. */
  probabilities?: number[][];
  classes?: unknown[];
  milliseconds?: number;
}

export interface Usage {
  user: string;
  tenant: string;
  kind: string;
  flavor: string;
  seconds: number;
  amounts: Record<string, number>;
  cost_micro: number;
  currency: string;
}

export interface BillLine {
  key: string;
  kind: string;
  noun_id: string;
  name: string;
  user: string;
  tenant: string;
  flavor: string;
  seconds: number;
  cost_micro: number;
  intervals: number;
}

export interface Bill {
  tenant: string | null;
  user: string | null;
  month: string;
  total_micro: number;
  currency: string;
  lines: BillLine[];
}

export interface Interval {
  started_at: string;
  ended_at: string;
  running: boolean;
  seconds: number;
  price_micro_per_hour: number;
  price_valid_from: string | null;
  cost_micro: number;
}

export interface Price {
  flavor: string;
  price_micro_per_hour: number;
  valid_from: string;
  currency?: string;
}

export interface Accelerator {
  index: string | number;
  name: string;
  utilisation: number;
  memory_used: number;
  memory_total: number;
  fan: number | null;
  temperature: number | null;
  power: number | null;
  simulated: boolean;
}

export interface Metrics {
  at: string;
  cpu_cores: number;
  cpu_limit: number;
  memory: number;
  memory_limit: number;
  disk: number;
  disk_limit: number;
  accelerators: Accelerator[];
}

export interface Share {
  used: number;
  total: number;
}

export interface Node {
  name: string;
  cpu: Share;
  memory: Share;
  disk: Share;
  accelerators: Accelerator[];
  /** null for a cluster's node. */
  isolation: { mode: string; network: string; limits: string | string[]; missing: string[] } | null;
  /** A cluster's node: "used" is what its pods have asked for. */
  allocated: boolean;
  devices: Record<string, Share>;
  ready: boolean;
  reason: string;
}

export interface Overview {
  running: { environments: number; jobs: number; endpoints: number };
  waiting: { environments: number; jobs: number; endpoints: number };
  cost_this_month_micro: number;
  currency: string;
}
