<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="zh_CN" sourcelanguage="en_US">
<context>
    <name>AttachCard</name>
    <message>
        <source>Attach to a cluster</source>
        <translation>连接到集群</translation>
    </message>
    <message>
        <source>Every machine of the cluster becomes a node</source>
        <translation>集群中的每台机器都会成为节点</translation>
    </message>
    <message>
        <source>One that runs here or elsewhere</source>
        <translation>Ray 已在本机或别处运行</translation>
    </message>
    <message>
        <source>Data goes straight from machine to machine wherever firewalls allow it</source>
        <translation>只要防火墙允许，数据就在机器之间直接传输</translation>
    </message>
    <message>
        <source>Jobs running on the cluster are not affected</source>
        <translation>不影响集群上正在运行的任务</translation>
    </message>
    <message>
        <source>Search again</source>
        <translation>重新查找</translation>
    </message>
    <message>
        <source>Attach</source>
        <translation>连接</translation>
    </message>
    <message>
        <source>Address of the cluster</source>
        <translation>集群地址</translation>
    </message>
</context>
<context>
    <name>Banner</name>
    <message>
        <source>Dismiss</source>
        <translation>关闭提示</translation>
    </message>
</context>
<context>
    <name>Browser</name>
    <message>
        <source>Files of a node</source>
        <translation>节点上的文件</translation>
    </message>
    <message>
        <source>Name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>Size</source>
        <translation>大小</translation>
    </message>
    <message>
        <source>Folder</source>
        <translation>文件夹</translation>
    </message>
    <message>
        <source>Empty</source>
        <translation>空文件夹</translation>
    </message>
    <message>
        <source>Modified</source>
        <translation>修改时间</translation>
    </message>
    <message>
        <source>This folder is empty.</source>
        <translation>这个文件夹是空的。</translation>
    </message>
    <message>
        <source>Folder on the node</source>
        <translation>节点上的文件夹</translation>
    </message>
    <message>
        <source>Up</source>
        <translation>上一级</translation>
    </message>
    <message>
        <source>Add to the list</source>
        <translation>加入列表</translation>
    </message>
    <message>
        <source>Add this folder</source>
        <translation>加入此文件夹</translation>
    </message>
    <message>
        <source>{count} more not shown</source>
        <translation>另有 {count} 项未显示</translation>
    </message>
</context>
<context>
    <name>CastDetails</name>
    <message>
        <source>Direct</source>
        <translation>直连</translation>
    </message>
    <message>
        <source>Through Ray</source>
        <translation>经由 Ray</translation>
    </message>
    <message>
        <source>Multicast</source>
        <translation>组播</translation>
    </message>
    <message>
        <source>Same machine</source>
        <translation>同一台机器</translation>
    </message>
    <message>
        <source>Node</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>State</source>
        <translation>状态</translation>
    </message>
    <message>
        <source>Size</source>
        <translation>大小</translation>
    </message>
    <message>
        <source>Upstream</source>
        <translation>上游</translation>
    </message>
    <message>
        <source>Transport</source>
        <translation>传输方式</translation>
    </message>
    <message>
        <source>Encrypted</source>
        <translation>已加密</translation>
    </message>
    <message>
        <source>ID</source>
        <translation>编号</translation>
    </message>
    <message>
        <source>{count} ({names})</source>
        <translation>{count}（{names}）</translation>
    </message>
    <message>
        <source>Broken links</source>
        <translation>失效的链接</translation>
    </message>
    <message>
        <source>The files have changed since attempt {number}. This attempt sends the current ones.</source>
        <translation>自第 {number} 次尝试以来，文件已更改。本次尝试发送当前的文件。</translation>
    </message>
    <message>
        <source>Files</source>
        <translation>文件</translation>
    </message>
    <message>
        <source>Direct, reverse connection</source>
        <translation>直连（反向拨入）</translation>
    </message>
    <message>
        <source>Speed</source>
        <translation>速率</translation>
    </message>
    <message>
        <source>Duration</source>
        <translation>用时</translation>
    </message>
    <message>
        <source>Path or reason</source>
        <translation>保存位置或失败原因</translation>
    </message>
    <message>
        <source>Hash</source>
        <translation>哈希</translation>
    </message>
    <message>
        <source>Deliveries</source>
        <translation>送达</translation>
    </message>
    <message>
        <source>Source</source>
        <translation>源节点</translation>
    </message>
    <message>
        <source>Saved to</source>
        <translation>保存到</translation>
    </message>
    <message>
        <source>Inbox of each node</source>
        <translation>各节点的收件箱</translation>
    </message>
    <message>
        <source>Started</source>
        <translation>开始</translation>
    </message>
    <message>
        <source>Relay</source>
        <translation>接力链</translation>
    </message>
    <message>
        <source>Copies from the source</source>
        <translation>源节点上传份数</translation>
    </message>
    <message>
        <source>Speed limit</source>
        <translation>限速</translation>
    </message>
    <message>
        <source>None</source>
        <translation>无</translation>
    </message>
    <message>
        <source>Why it downloads</source>
        <translation>为何由它下载</translation>
    </message>
    <message>
        <source>Links sent as files</source>
        <translation>作为文件发送的链接</translation>
    </message>
    <message>
        <source>Links sent as links</source>
        <translation>作为链接发送的链接</translation>
    </message>
    <message>
        <source>Encryption</source>
        <translation>加密</translation>
    </message>
    <message>
        <source>Attempt {number}</source>
        <translation>第 {number} 次尝试</translation>
    </message>
    <message>
        <source>Reason</source>
        <translation>原因</translation>
    </message>
    <message>
        <source>Details</source>
        <translation>详情</translation>
    </message>
    <message>
        <source>Overview</source>
        <translation>概览</translation>
    </message>
    <message>
        <source>Copy all</source>
        <translation>全部复制</translation>
    </message>
    <message>
        <source>{name}: {value}</source>
        <translation>{name}：{value}</translation>
    </message>
</context>
<context>
    <name>CastHistoryPage</name>
    <message>
        <source>History</source>
        <translation>历史记录</translation>
    </message>
    <message>
        <source>Name, node or folder</source>
        <translation>名称、节点或文件夹</translation>
    </message>
    <message>
        <source>Search the history</source>
        <translation>搜索历史</translation>
    </message>
    <message>
        <source>Result</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>No casts in the history match.</source>
        <translation>历史中没有符合条件的传输。</translation>
    </message>
    <message>
        <source>Casts appear here once they have ended.</source>
        <translation>传输结束后都会记录在这里。</translation>
    </message>
    <message>
        <source>Statistics</source>
        <translation>统计</translation>
    </message>
    <message>
        <source>Export…</source>
        <translation>导出…</translation>
    </message>
    <message>
        <source>Clear</source>
        <translation>清空</translation>
    </message>
    <message>
        <source>All results</source>
        <translation>全部结果</translation>
    </message>
    <message>
        <source>Delivered</source>
        <translation>已送达</translation>
    </message>
    <message>
        <source>Failed</source>
        <translation>失败</translation>
    </message>
    <message>
        <source>Cancelled</source>
        <translation>已取消</translation>
    </message>
    <message>
        <source>{count} cast</source>
        <translation>{count} 次传输</translation>
    </message>
    <message>
        <source>{count} casts</source>
        <translation>{count} 次传输</translation>
    </message>
    <message>
        <source>Nothing found</source>
        <translation>没有找到</translation>
    </message>
    <message>
        <source>Remove from history</source>
        <translation>从历史中删除</translation>
    </message>
    <message>
        <source>Remove all casts from the history, including those not shown?</source>
        <translation>要清空全部历史记录吗？包括未显示的记录。</translation>
    </message>
    <message>
        <source>The delivered files are not affected.</source>
        <translation>已送达的文件不受影响。</translation>
    </message>
    <message>
        <source>Remove all</source>
        <translation>全部清空</translation>
    </message>
    <message>
        <source>{count} cast removed from the history.</source>
        <translation>已清除 {count} 条记录。</translation>
    </message>
    <message>
        <source>{count} casts removed from the history.</source>
        <translation>已清除 {count} 条记录。</translation>
    </message>
    <message>
        <source>{name} removed from the history.</source>
        <translation>已清除 {name} 的记录。</translation>
    </message>
    <message>
        <source>As CSV, one line per delivery…</source>
        <translation>导出为 CSV，每次送达一行…</translation>
    </message>
    <message>
        <source>The history was exported to {name}.</source>
        <translation>历史已导出到 {name}。</translation>
    </message>
    <message>
        <source>No history yet</source>
        <translation>尚无历史记录</translation>
    </message>
    <message>
        <source>Back to history</source>
        <translation>返回历史记录</translation>
    </message>
    <message>
        <source>Send again</source>
        <translation>再次发送</translation>
    </message>
    <message>
        <source>Retry failed</source>
        <translation>重试失败项</translation>
    </message>
    <message>
        <source>Verify again…</source>
        <translation>重新校验…</translation>
    </message>
    <message>
        <source>Details…</source>
        <translation>详情…</translation>
    </message>
    <message>
        <source>Copy name</source>
        <translation>复制名称</translation>
    </message>
    <message>
        <source>Undo</source>
        <translation>撤销</translation>
    </message>
    <message>
        <source>As JSON, casts with their deliveries…</source>
        <translation>导出为 JSON，含每次传输的送达详情…</translation>
    </message>
    <message>
        <source>Export the history</source>
        <translation>导出历史</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Exporting: {done} of {total} casts</source>
        <translation>正在导出：{done} / {total} 次传输</translation>
    </message>
</context>
<context>
    <name>CastQuestion</name>
    <message>
        <source>{names} and {count} more are still being sent.</source>
        <translation>{names} 及另外 {count} 项仍在发送。</translation>
    </message>
    <message>
        <source>{names} is still being sent.</source>
        <translation>{names} 仍在发送。</translation>
    </message>
    <message>
        <source>{names} are still being sent.</source>
        <translation>{names} 仍在发送。</translation>
    </message>
    <message>
        <source>Another machine is in this cluster. Its nodes leave when it stops.</source>
        <translation>此集群中还有一台其他机器，集群停止后，其节点会离开。</translation>
    </message>
    <message>
        <source>{count} other machines are in this cluster. Their nodes leave when it stops.</source>
        <translation>此集群中还有 {count} 台其他机器，集群停止后，其节点会离开。</translation>
    </message>
    <message>
        <source>Without this window, the cluster stops as soon as nothing else uses it.</source>
        <translation>此窗口不再使用集群后，一旦没有其他传输或程序使用它，集群就会停止。</translation>
    </message>
    <message>
        <source>Switch</source>
        <translation>切换</translation>
    </message>
    <message>
        <source>It continues there and stays in the table, marked with its cluster.</source>
        <translation>它会在原集群继续，并保留在列表中，注明其集群名称。</translation>
    </message>
    <message>
        <source>Stopping the cluster ends running casts; paused casts wait for the cluster.</source>
        <translation>停止集群会结束正在进行的传输；已暂停的传输会等待该集群。</translation>
    </message>
    <message>
        <source>Detaching ends running casts; paused casts wait for the cluster.</source>
        <translation>断开连接会结束正在进行的传输；已暂停的传输会等待该集群。</translation>
    </message>
    <message>
        <source>Anyone with the token can run programs here. Without TLS, the token crosses the network unencrypted.</source>
        <translation>持有令牌的人可以在本机运行程序；未启用 TLS 时，令牌会以明文在网络上传输。</translation>
    </message>
    <message>
        <source>Running casts continue.</source>
        <translation>正在进行的传输会继续。</translation>
    </message>
    <message>
        <source>To come back, a machine has to join again.</source>
        <translation>要回到集群，机器需要重新加入。</translation>
    </message>
    <message>
        <source>Detach</source>
        <translation>断开连接</translation>
    </message>
    <message>
        <source>{names} and {count} more</source>
        <translation>{names} 及另外 {count} 项</translation>
    </message>
    <message>
        <source>Stop cluster</source>
        <translation>停止集群</translation>
    </message>
    <message>
        <source>Letting other machines join opens Ray&apos;s ports on every network of this computer.</source>
        <translation>允许其他机器加入会在本机的所有网络上开放 Ray 的端口。</translation>
    </message>
    <message>
        <source>Let other machines join</source>
        <translation>允许其他机器加入</translation>
    </message>
</context>
<context>
    <name>Cluster</name>
    <message>
        <source>CastRay engine</source>
        <translation>CastRay 引擎</translation>
    </message>
    <message>
        <source>Engine lost</source>
        <translation>引擎已断开</translation>
    </message>
    <message>
        <source>No cluster</source>
        <translation>未连接集群</translation>
    </message>
    <message>
        <source>Shared cluster</source>
        <translation>共享集群</translation>
    </message>
    <message>
        <source>Local cluster</source>
        <translation>本地集群</translation>
    </message>
    <message>
        <source>Starting…</source>
        <translation>正在启动…</translation>
    </message>
    <message>
        <source>Reconnecting…</source>
        <translation>正在重新连接…</translation>
    </message>
    <message>
        <source>Start or attach to one</source>
        <translation>请启动或连接集群</translation>
    </message>
    <message>
        <source>Could not start</source>
        <translation>启动失败</translation>
    </message>
    <message>
        <source>Could not attach</source>
        <translation>连接失败</translation>
    </message>
    <message>
        <source>Starting Ray…</source>
        <translation>正在启动 Ray…</translation>
    </message>
    <message>
        <source>Connecting…</source>
        <translation>正在连接…</translation>
    </message>
    <message>
        <source>attempt {number} of {total}</source>
        <translation>第 {number}/{total} 次尝试</translation>
    </message>
    <message>
        <source>Setting up nodes…</source>
        <translation>正在部署节点…</translation>
    </message>
    <message>
        <source>Setting up nodes {ready}/{total}</source>
        <translation>正在部署节点 {ready}/{total}</translation>
    </message>
    <message>
        <source>Looking for a suitable Python…</source>
        <translation>正在查找合适的 Python…</translation>
    </message>
    <message>
        <source>Creating an environment…</source>
        <translation>正在创建运行环境…</translation>
    </message>
    <message>
        <source>Stopping…</source>
        <translation>正在停止…</translation>
    </message>
    <message>
        <source>Installing the cluster&apos;s Ray…</source>
        <translation>正在安装集群所用的 Ray…</translation>
    </message>
    <message>
        <source>Checking the new driver…</source>
        <translation>正在检查新的驱动进程…</translation>
    </message>
    <message>
        <source>Preparing a driver…</source>
        <translation>正在准备驱动进程…</translation>
    </message>
    <message>
        <source>running on this computer</source>
        <translation>正在本机运行</translation>
    </message>
    <message>
        <source>{count} node</source>
        <translation>{count} 个节点</translation>
    </message>
    <message>
        <source>{count} nodes</source>
        <translation>{count} 个节点</translation>
    </message>
    <message>
        <source>{count} CPU</source>
        <translation>{count} CPU</translation>
    </message>
    <message>
        <source>{count} GPU</source>
        <translation>{count} GPU</translation>
    </message>
    <message>
        <source>in use</source>
        <translation>使用中</translation>
    </message>
    <message>
        <source>used {ago}</source>
        <translation>上次使用：{ago}</translation>
    </message>
</context>
<context>
    <name>ClusterChip</name>
    <message>
        <source>Cluster: {state}</source>
        <translation>集群：{state}</translation>
    </message>
</context>
<context>
    <name>ClusterMenu</name>
    <message>
        <source>Add node…</source>
        <translation>添加节点…</translation>
    </message>
    <message>
        <source>Start local cluster</source>
        <translation>启动本地集群</translation>
    </message>
    <message>
        <source>Attach to a cluster…</source>
        <translation>连接到集群…</translation>
    </message>
    <message>
        <source>Let other machines join…</source>
        <translation>允许其他机器加入…</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Stop local cluster</source>
        <translation>停止本地集群</translation>
    </message>
    <message>
        <source>Stop shared cluster</source>
        <translation>停止共享集群</translation>
    </message>
    <message>
        <source>Detach</source>
        <translation>断开连接</translation>
    </message>
</context>
<context>
    <name>ClusterRow</name>
    <message>
        <source>Attach</source>
        <translation>连接</translation>
    </message>
    <message>
        <source>Remove this cluster</source>
        <translation>移除这个集群</translation>
    </message>
    <message>
        <source>Attach to {target}</source>
        <translation>连接 {target}</translation>
    </message>
</context>
<context>
    <name>ConflictField</name>
    <message>
        <source>Skip identical</source>
        <translation>跳过相同文件</translation>
    </message>
    <message>
        <source>Keep both</source>
        <translation>两者都保留</translation>
    </message>
    <message>
        <source>Overwrite</source>
        <translation>覆盖</translation>
    </message>
</context>
<context>
    <name>DesktopNotifications</name>
    <message>
        <source>Open CastRay</source>
        <translation>打开 CastRay</translation>
    </message>
</context>
<context>
    <name>Destination</name>
    <message>
        <source>“Save to” requires a full path, such as /data</source>
        <translation>“保存到”需填写完整路径，例如 /data</translation>
    </message>
    <message>
        <source>Only {node} is allowed in braces</source>
        <translation>花括号中只能写 {node}</translation>
    </message>
</context>
<context>
    <name>Doctor</name>
    <message>
        <source>This computer</source>
        <translation>本机</translation>
    </message>
    <message>
        <source>Check</source>
        <translation>检查项</translation>
    </message>
    <message>
        <source>Node</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>Found</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>What to do</source>
        <translation>处理方法</translation>
    </message>
</context>
<context>
    <name>DoctorPage</name>
    <message>
        <source>Checks</source>
        <translation>检查结果</translation>
    </message>
    <message>
        <source>Check now</source>
        <translation>立即检查</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Copy diagnostics</source>
        <translation>复制诊断信息</translation>
    </message>
    <message>
        <source>All results, without tokens</source>
        <translation>全部检查结果，不含令牌</translation>
    </message>
    <message>
        <source>Checking: {done} of {total}</source>
        <translation>正在检查：{done}/{total}</translation>
    </message>
    <message>
        <source>Checking…</source>
        <translation>正在检查…</translation>
    </message>
    <message>
        <source>All {count} checks passed</source>
        <translation>全部 {count} 项检查均通过</translation>
    </message>
    <message>
        <source>No checks yet</source>
        <translation>尚未检查</translation>
    </message>
    <message>
        <source>Check now checks this computer, the cluster, every node and the connections between them.</source>
        <translation>点击“立即检查”将检查本机、集群、所有节点及节点之间的连接。</translation>
    </message>
    <message>
        <source>{count} problem</source>
        <translation>{count} 个问题</translation>
    </message>
    <message>
        <source>{count} problems</source>
        <translation>{count} 个问题</translation>
    </message>
    <message>
        <source>{count} note</source>
        <translation>{count} 条提示</translation>
    </message>
    <message>
        <source>{count} notes</source>
        <translation>{count} 条提示</translation>
    </message>
</context>
<context>
    <name>DownloadField</name>
    <message>
        <source>Download on</source>
        <translation>下载节点</translation>
    </message>
    <message>
        <source>Fastest node (measured)</source>
        <translation>最快的节点（实测）</translation>
    </message>
    <message>
        <source>Fastest: {node}</source>
        <translation>最快：{node}</translation>
    </message>
    <message>
        <source>This node downloads the files and passes them on as they arrive.</source>
        <translation>该节点下载文件，边下载边转发。</translation>
    </message>
    <message>
        <source>The node with the fastest connection to the server downloads the files and passes them on.</source>
        <translation>访问服务器最快的节点下载文件，边下载边转发。</translation>
    </message>
    <message>
        <source>Last measured with {host}: {speeds}.</source>
        <translation>上次针对 {host} 的测量：{speeds}。</translation>
    </message>
</context>
<context>
    <name>DropArea</name>
    <message>
        <source>Add files</source>
        <translation>添加文件</translation>
    </message>
    <message>
        <source>Files</source>
        <translation>文件</translation>
    </message>
    <message>
        <source>Add folder</source>
        <translation>添加文件夹</translation>
    </message>
    <message>
        <source>Folder</source>
        <translation>文件夹</translation>
    </message>
    <message>
        <source>URL</source>
        <translation>网址</translation>
    </message>
    <message>
        <source>Add from URL</source>
        <translation>从网址添加</translation>
    </message>
    <message>
        <source>Drop files or folders here</source>
        <translation>将文件或文件夹拖到此处</translation>
    </message>
    <message>
        <source>or anywhere in this window</source>
        <translation>也可以拖到窗口的任意位置</translation>
    </message>
    <message>
        <source>Drop more files or folders, or</source>
        <translation>继续拖入文件或文件夹，或</translation>
    </message>
    <message>
        <source>browse</source>
        <translation>浏览</translation>
    </message>
    <message>
        <source>Browse for files or folders</source>
        <translation>浏览文件或文件夹</translation>
    </message>
    <message>
        <source>Add files…</source>
        <translation>添加文件…</translation>
    </message>
    <message>
        <source>Add folder…</source>
        <translation>添加文件夹…</translation>
    </message>
    <message>
        <source>Add from URL…</source>
        <translation>从网址添加…</translation>
    </message>
    <message>
        <source>Counting…</source>
        <translation>正在统计…</translation>
    </message>
    <message>
        <source>Size not known yet</source>
        <translation>大小尚不清楚</translation>
    </message>
</context>
<context>
    <name>DropOverlay</name>
    <message>
        <source>Drop to add {name} to the send list</source>
        <translation>松开即可将 {name} 加入发送列表</translation>
    </message>
    <message>
        <source>Drop to add {count} items to the send list</source>
        <translation>松开即可将 {count} 项加入发送列表</translation>
    </message>
</context>
<context>
    <name>Encryption</name>
    <message>
        <source>Yes</source>
        <translation>是</translation>
    </message>
    <message>
        <source>No</source>
        <translation>否</translation>
    </message>
    <message>
        <source>encrypted</source>
        <translation>已加密</translation>
    </message>
    <message>
        <source>not encrypted</source>
        <translation>未加密</translation>
    </message>
    <message>
        <source>Encrypted: {upstream} → {node}</source>
        <translation>已加密：{upstream} → {node}</translation>
    </message>
    <message>
        <source>Not encrypted: data from {upstream} → {node} can be read in transit</source>
        <translation>未加密：{upstream} → {node} 的内容可能在途中被读取</translation>
    </message>
    <message>
        <source>Multicast is not encrypted: anyone on the network can read it</source>
        <translation>组播未加密：网络中的任何人都能读取</translation>
    </message>
    <message>
        <source>Encrypted between machines</source>
        <translation>机器之间已加密</translation>
    </message>
    <message>
        <source>Not encrypted</source>
        <translation>未加密</translation>
    </message>
    <message>
        <source>Not encrypted to {nodes}</source>
        <translation>发往 {nodes} 的内容未加密</translation>
    </message>
</context>
<context>
    <name>Failure</name>
    <message>
        <source>{path} does not exist.</source>
        <translation>{path} 不存在。</translation>
    </message>
    <message>
        <source>Check the name and send it again.</source>
        <translation>请检查名称，然后重新发送。</translation>
    </message>
    <message>
        <source>{path} is {what} and can&apos;t be sent.</source>
        <translation>无法发送 {path}：{what}。</translation>
    </message>
    <message>
        <source>There is nothing to send.</source>
        <translation>没有可发送的内容。</translation>
    </message>
    <message>
        <source>Choose another name.</source>
        <translation>请换一个名称。</translation>
    </message>
    <message>
        <source>{node} can&apos;t be removed.</source>
        <translation>无法移除 {node}。</translation>
    </message>
    <message>
        <source>Only nodes that were added can be removed.</source>
        <translation>只能移除手动添加的节点。</translation>
    </message>
    <message>
        <source>No recipients were chosen.</source>
        <translation>尚未选择接收节点。</translation>
    </message>
    <message>
        <source>Choose at least one node other than the source.</source>
        <translation>请至少选择一个源节点以外的节点。</translation>
    </message>
    <message>
        <source>{node} is the source, so it can&apos;t be a recipient.</source>
        <translation>{node} 是源节点，不能同时作为接收节点。</translation>
    </message>
    <message>
        <source>Choose other recipients or another source.</source>
        <translation>请选择其他接收节点，或更换源节点。</translation>
    </message>
    <message>
        <source>There is no cast {cast}.</source>
        <translation>没有编号为 {cast} 的传输。</translation>
    </message>
    <message>
        <source>List them with: castray casts</source>
        <translation>查看全部传输请运行：castray casts</translation>
    </message>
    <message>
        <source>Change it and save it again.</source>
        <translation>请修改后重新保存。</translation>
    </message>
    <message>
        <source>There is no schedule {schedule}.</source>
        <translation>没有编号为 {schedule} 的计划。</translation>
    </message>
    <message>
        <source>List them with: castray schedule list</source>
        <translation>查看全部计划请运行：castray schedule list</translation>
    </message>
    <message>
        <source>{path} changed while it was being sent.</source>
        <translation>{path} 在发送过程中发生了变化。</translation>
    </message>
    <message>
        <source>Send them again.</source>
        <translation>请重新发送。</translation>
    </message>
    <message>
        <source>{path} could not be written: {reason}.</source>
        <translation>无法写入 {path}：{reason}。</translation>
    </message>
    <message>
        <source>Cast {cast} has not ended yet.</source>
        <translation>传输 {cast} 尚未结束。</translation>
    </message>
    <message>
        <source>Cast {cast} is not waiting in the queue.</source>
        <translation>传输 {cast} 不在队列中等待。</translation>
    </message>
    <message>
        <source>Verify a path instead.</source>
        <translation>请改为校验某个路径。</translation>
    </message>
    <message>
        <source>{node} is offline.</source>
        <translation>{node} 已离线。</translation>
    </message>
    <message>
        <source>{path} disappeared before it was sent.</source>
        <translation>{path} 在发送之前消失了。</translation>
    </message>
    <message>
        <source>Send it again if it is still needed.</source>
        <translation>如仍需要，请重新发送。</translation>
    </message>
    <message>
        <source>{count} of {total} files were not delivered. {reason}</source>
        <translation>{total} 个文件中有 {count} 个未送达。{reason}</translation>
    </message>
    <message>
        <source>Everything else arrived.</source>
        <translation>其余内容均已送达。</translation>
    </message>
    <message>
        <source>No file was delivered. {reason}</source>
        <translation>没有文件送达。{reason}</translation>
    </message>
    <message>
        <source>{cure}</source>
        <translation>{cure}</translation>
    </message>
    <message>
        <source>{node} has no room: {path} has {free} free and {needed} are needed.</source>
        <translation>{node} 空间不足：{path} 可用 {free}，需要 {needed}。</translation>
    </message>
    <message>
        <source>{node} has no room: it shares the disk of {path} with {others}, where {free} are free, and all of them together need {needed}.</source>
        <translation>{node} 空间不足：{path} 所在的磁盘由它与 {others} 共用，可用 {free}，合计需要 {needed}。</translation>
    </message>
    <message>
        <source>{node} can&apos;t write to {path}: {reason}.</source>
        <translation>{node} 无法写入 {path}：{reason}。</translation>
    </message>
    <message>
        <source>Change the permissions there, or choose another destination.</source>
        <translation>请修改该节点上的权限，或选择其他保存位置。</translation>
    </message>
    <message>
        <source>{path} on {node} is not a folder.</source>
        <translation>{node} 上的 {path} 不是文件夹。</translation>
    </message>
    <message>
        <source>Choose another destination.</source>
        <translation>请选择其他保存位置。</translation>
    </message>
    <message>
        <source>{node} could not write {path}: {reason}.</source>
        <translation>{node} 写入 {path} 失败：{reason}。</translation>
    </message>
    <message>
        <source>Check the disk of {node}, then send again.</source>
        <translation>请检查 {node} 的磁盘，然后重新发送。</translation>
    </message>
    <message>
        <source>{node} could not read back {path}: {reason}.</source>
        <translation>{node} 无法读回 {path}：{reason}。</translation>
    </message>
    <message>
        <source>{path} arrived damaged on {node}, twice.</source>
        <translation>{path} 两次到达 {node} 时都已损坏。</translation>
    </message>
    <message>
        <source>{node} lost its connection to {upstream}: {reason}.</source>
        <translation>{node} 与 {upstream} 的连接中断：{reason}。</translation>
    </message>
    <message>
        <source>Check the network between them, then send again.</source>
        <translation>请检查两者之间的网络，然后重新发送。</translation>
    </message>
    <message>
        <source>Neither {node} ({own}) nor {upstream} ({address}) can connect to the other: {reason}.</source>
        <translation>{node}（{own}）与 {upstream}（{address}）之间无法建立连接，两个方向都不行：{reason}。</translation>
    </message>
    <message>
        <source>{node} and {upstream} do not trust each other&apos;s certificates: {reason}.</source>
        <translation>{node} 与 {upstream} 互不信任对方的证书：{reason}。</translation>
    </message>
    <message>
        <source>{node} went offline.</source>
        <translation>{node} 已离线。</translation>
    </message>
    <message>
        <source>Send again when it is back.</source>
        <translation>请在它恢复后重新发送。</translation>
    </message>
    <message>
        <source>Check that machine, then send again.</source>
        <translation>请检查该机器，然后重新发送。</translation>
    </message>
    <message>
        <source>Everything arrived, but {node} could not remove {count} entries, among them {path}: {reason}.</source>
        <translation>内容均已送达，但 {node} 有 {count} 项无法删除，其中包括 {path}：{reason}。</translation>
    </message>
    <message>
        <source>Change the permissions there and send again.</source>
        <translation>请修改该处的权限，然后重新发送。</translation>
    </message>
    <message>
        <source>{node} shares its folder with {writer}, whose copy failed.</source>
        <translation>{node} 与 {writer} 共用文件夹，而 {writer} 写入失败。</translation>
    </message>
    <message>
        <source>See the reason given for {writer}.</source>
        <translation>请查看 {writer} 的失败原因。</translation>
    </message>
    <message>
        <source>There is no cluster.</source>
        <translation>当前没有集群。</translation>
    </message>
    <message>
        <source>Start or attach one first.</source>
        <translation>请先启动或连接集群。</translation>
    </message>
    <message>
        <source>No node of the cluster {target} can be used: {reasons}.</source>
        <translation>集群 {target} 没有可用的节点：{reasons}。</translation>
    </message>
    <message>
        <source>The cluster was stopped.</source>
        <translation>集群已停止。</translation>
    </message>
    <message>
        <source>Start or attach one, then send again.</source>
        <translation>请启动或连接集群，然后重新发送。</translation>
    </message>
    <message>
        <source>Start or attach that cluster, or cancel the cast.</source>
        <translation>请启动或连接该集群，或者取消传输。</translation>
    </message>
    <message>
        <source>Details are in {log}.</source>
        <translation>详情见 {log}。</translation>
    </message>
    <message>
        <source>The cluster {target} did not answer within {seconds} seconds.</source>
        <translation>集群 {target} 在 {seconds} 秒内没有响应。</translation>
    </message>
    <message>
        <source>The cluster {target} can&apos;t be reached: {reason}.</source>
        <translation>无法连接集群 {target}：{reason}。</translation>
    </message>
    <message>
        <source>This machine is in several Ray clusters: {addresses}.</source>
        <translation>本机同时属于多个 Ray 集群：{addresses}。</translation>
    </message>
    <message>
        <source>The cluster {target} does not accept the token from {origin}.</source>
        <translation>集群 {target} 不接受 {origin} 中的令牌。</translation>
    </message>
    <message>
        <source>CastRay could not start its agent on {node}: {reason}.</source>
        <translation>CastRay 无法在 {node} 上启动其代理：{reason}。</translation>
    </message>
    <message>
        <source>{node} has no free port in {ports}.</source>
        <translation>{node} 在 {ports} 范围内没有空闲端口。</translation>
    </message>
    <message>
        <source>Ray has not started within {seconds} seconds.</source>
        <translation>Ray 在 {seconds} 秒内未能启动。</translation>
    </message>
    <message>
        <source>Enlarge it before Ray starts there: mount -o remount,size=2G /dev/shm, or --shm-size=2g for a container.</source>
        <translation>请在该节点启动 Ray 之前扩大它：mount -o remount,size=2G /dev/shm；容器请用 --shm-size=2g。</translation>
    </message>
    <message>
        <source>The cluster {target} runs Ray {ray} on Python {python}, CastRay has Ray {own_ray} on Python {own_python}.</source>
        <translation>集群 {target} 运行 Ray {ray}（Python {python}），而 CastRay 使用 Ray {own_ray}（Python {own_python}）。</translation>
    </message>
    <message>
        <source>A driver with Ray {ray} on Python {python} could not be prepared: {reason}</source>
        <translation>无法准备使用 Ray {ray}（Python {python}）的驱动进程：{reason}</translation>
    </message>
    <message>
        <source>This computer could not join the cluster {target}: {reason}</source>
        <translation>本机无法加入集群 {target}：{reason}</translation>
    </message>
    <message>
        <source>The CastRay engine can&apos;t be reached: {reason}.</source>
        <translation>无法连接 CastRay 引擎：{reason}。</translation>
    </message>
    <message>
        <source>The history can&apos;t be used: {reason}.</source>
        <translation>无法使用历史记录：{reason}。</translation>
    </message>
    <message>
        <source>Cancelled.</source>
        <translation>已取消。</translation>
    </message>
    <message>
        <source>Something went wrong inside CastRay: {reason}.</source>
        <translation>CastRay 内部出错：{reason}。</translation>
    </message>
    <message>
        <source>Multicast ended with the cast.</source>
        <translation>组播已随本次传输结束。</translation>
    </message>
    <message>
        <source>Use the relay (--transport auto), or don&apos;t require encryption.</source>
        <translation>请使用接力链（--transport auto），或不要求加密。</translation>
    </message>
    <message>
        <source>Verify the cast with that version, or verify a path.</source>
        <translation>请用该版本校验此次传输，或改为校验某个路径。</translation>
    </message>
    <message>
        <source>Use CastRay {version} or a later version, or set CASTRAY_HOME to another folder.</source>
        <translation>请使用 CastRay {version} 或更高版本，或将 CASTRAY_HOME 设为其他文件夹。</translation>
    </message>
    <message>
        <source>{url} could not be downloaded: {reason}.</source>
        <translation>无法下载 {url}：{reason}。</translation>
    </message>
    <message>
        <source>{url} changed on its server while it was being sent.</source>
        <translation>{url} 在发送过程中在服务器上发生了变化。</translation>
    </message>
    <message>
        <source>Send it again.</source>
        <translation>请重新发送。</translation>
    </message>
    <message>
        <source>{node} can&apos;t encrypt its connections, and this cast requires that: {reason}.</source>
        <translation>{node} 无法加密连接，而此次传输要求加密：{reason}。</translation>
    </message>
    <message>
        <source>Use a Python with TLS 1.3 there, or send without --encrypt always.</source>
        <translation>请在该节点上使用支持 TLS 1.3 的 Python，或不使用 --encrypt always 发送。</translation>
    </message>
    <message>
        <source>CastRay</source>
        <translation>CastRay</translation>
    </message>
    <message>
        <source>CastRay {version} with Ray {ray} on Python {python}, {system}.</source>
        <translation>CastRay {version}，Ray {ray}，Python {python}，{system}。</translation>
    </message>
    <message>
        <source>Engine</source>
        <translation>引擎</translation>
    </message>
    <message>
        <source>The engine runs as process {pid}.</source>
        <translation>引擎正在运行，进程号 {pid}。</translation>
    </message>
    <message>
        <source>{reason}</source>
        <translation>{reason}</translation>
    </message>
    <message>
        <source>{remedy}</source>
        <translation>{remedy}</translation>
    </message>
    <message>
        <source>Cluster</source>
        <translation>集群</translation>
    </message>
    <message>
        <source>{target}: {ready} of {total} nodes are online, Ray {ray} on Python {python}.</source>
        <translation>{target}：{total} 个节点中有 {ready} 个在线，Ray {ray}，Python {python}。</translation>
    </message>
    <message>
        <source>Node</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>Clock</source>
        <translation>时钟</translation>
    </message>
    <message>
        <source>Shared memory</source>
        <translation>共享内存</translation>
    </message>
    <message>
        <source>{node} has {free} of {total} free in /dev/shm.</source>
        <translation>{node} 的 /dev/shm 共 {total}，可用 {free}。</translation>
    </message>
    <message>
        <source>{node} has only {free} left at {path}.</source>
        <translation>{node} 的 {path} 仅剩 {free}。</translation>
    </message>
    <message>
        <source>{node} can&apos;t write to {path}.</source>
        <translation>{node} 无法写入 {path}。</translation>
    </message>
    <message>
        <source>Change the permissions there, or choose another inbox.</source>
        <translation>请修改该处的权限，或改用其他收件箱。</translation>
    </message>
    <message>
        <source>Open files</source>
        <translation>打开文件数</translation>
    </message>
    <message>
        <source>Connections</source>
        <translation>连接</translation>
    </message>
    <message>
        <source>Connection</source>
        <translation>连接</translation>
    </message>
    <message>
        <source>{node} can&apos;t connect to {peer} ({address}): {reason}. Files go through Ray, which is slower.</source>
        <translation>{node} 无法连接到 {peer}（{address}）：{reason}。文件将经由 Ray 传输，速率较低。</translation>
    </message>
    <message>
        <source>{node} can&apos;t connect to {peer} ({address}): {reason}.</source>
        <translation>{node} 无法连接到 {peer}（{address}）：{reason}。</translation>
    </message>
    <message>
        <source>Data ports</source>
        <translation>数据端口</translation>
    </message>
    <message>
        <source>This computer has no address in CASTRAY_DATA_NETWORK={network}, so it uses Ray&apos;s.</source>
        <translation>本机在 CASTRAY_DATA_NETWORK={network} 中没有地址，因此使用 Ray 的地址。</translation>
    </message>
    <message>
        <source>{variable}={value} can&apos;t be used: {reason}</source>
        <translation>{variable}={value} 无法使用：{reason}</translation>
    </message>
    <message>
        <source>Display</source>
        <translation>显示</translation>
    </message>
    <message>
        <source>The window is shown on {display}.</source>
        <translation>窗口显示在 {display} 上。</translation>
    </message>
    <message>
        <source>There is no display, so the window can&apos;t be opened here.</source>
        <translation>没有可用的显示器，因此无法在这里打开窗口。</translation>
    </message>
    <message>
        <source>Qt</source>
        <translation>Qt</translation>
    </message>
    <message>
        <source>Qt {version} can be loaded.</source>
        <translation>可以加载 Qt {version}。</translation>
    </message>
    <message>
        <source>The window is not installed here; the command line works without it.</source>
        <translation>这里没有安装窗口；命令行不需要它。</translation>
    </message>
    <message>
        <source>Install it with: {command}</source>
        <translation>安装命令：{command}</translation>
    </message>
    <message>
        <source>Write hf://OWNER/NAME, hf://OWNER/NAME@REVISION/PATH or hf://datasets/OWNER/NAME.</source>
        <translation>请写成 hf://OWNER/NAME、hf://OWNER/NAME@REVISION/PATH 或 hf://datasets/OWNER/NAME。</translation>
    </message>
    <message>
        <source>Write it like 10M, 10MB/s, 10MiB/s or 100Mbit/s.</source>
        <translation>请写成 10M、10MB/s、10MiB/s 或 100Mbit/s 的形式。</translation>
    </message>
    <message>
        <source>{path}, line {line}: {pattern} can&apos;t be used.</source>
        <translation>{path} 第 {line} 行：无法使用 {pattern}。</translation>
    </message>
    <message>
        <source>Write the absolute path on {node}.</source>
        <translation>请写 {node} 上的绝对路径。</translation>
    </message>
    <message>
        <source>{path} can&apos;t be read: {reason}.</source>
        <translation>无法读取 {path}：{reason}。</translation>
    </message>
    <message>
        <source>Check the file and send again.</source>
        <translation>请检查该文件，然后重新发送。</translation>
    </message>
    <message>
        <source>There is no list of files for cast {cast}: its source has not been scanned.</source>
        <translation>传输 {cast} 没有文件列表：其源文件尚未扫描。</translation>
    </message>
    <message>
        <source>If the cast is still running, try again in a moment.</source>
        <translation>如果传输仍在进行，请稍后再试。</translation>
    </message>
    <message>
        <source>The lists of the last 10,000 casts are kept, up to 512 MB in total.</source>
        <translation>仅保留最近 10,000 次传输的文件列表，总计不超过 512 MB。</translation>
    </message>
    <message>
        <source>Check the name. For a private repository, log in on this computer with &apos;hf auth login&apos;, or start the engine with HF_TOKEN.</source>
        <translation>请检查名称。如果是私有仓库，请在本机运行 &apos;hf auth login&apos; 登录，或在设置 HF_TOKEN 后启动引擎。</translation>
    </message>
    <message>
        <source>{repository} has no branch, tag or commit {revision}.</source>
        <translation>{repository} 没有名为 {revision} 的分支、标签或提交。</translation>
    </message>
    <message>
        <source>{repository} has nothing at {path}.</source>
        <translation>{repository} 中没有 {path}。</translation>
    </message>
    <message>
        <source>Request access on its page, then log in on this computer with &apos;hf auth login&apos;, or start the engine with HF_TOKEN.</source>
        <translation>请在其页面上申请访问权限，然后在本机运行 &apos;hf auth login&apos; 登录，或在设置 HF_TOKEN 后启动引擎。</translation>
    </message>
    <message>
        <source>{url} would be downloaded without encryption, and this cast has to be encrypted.</source>
        <translation>{url} 将以未加密方式下载，而此次传输必须加密。</translation>
    </message>
    <message>
        <source>Use an https address, or send without --encrypt always.</source>
        <translation>请使用 https 地址，或不带 --encrypt always 发送。</translation>
    </message>
    <message>
        <source>Use an address that begins with https, hf, s3, gs or az.</source>
        <translation>请使用以 https、hf、s3、gs 或 az 开头的地址。</translation>
    </message>
    <message>
        <source>There is nothing at {url}.</source>
        <translation>{url} 处没有任何内容。</translation>
    </message>
    <message>
        <source>The bucket or container of {url} does not exist.</source>
        <translation>{url} 的存储桶或容器不存在。</translation>
    </message>
    <message>
        <source>Check its name, and the region or account.</source>
        <translation>请检查其名称，以及区域或账户。</translation>
    </message>
    <message>
        <source>{url} is not public, and this computer has no credentials for it.</source>
        <translation>{url} 不是公开的，而本机没有相应的凭据。</translation>
    </message>
    <message>
        <source>Give the engine credentials: {how}.</source>
        <translation>请为引擎提供凭据：{how}。</translation>
    </message>
    <message>
        <source>The store refuses access to {url}: {reason}.</source>
        <translation>存储拒绝访问 {url}：{reason}。</translation>
    </message>
    <message>
        <source>Use an access key, an account key or the key of a service account.</source>
        <translation>请使用访问密钥、账户密钥或服务账号的密钥。</translation>
    </message>
    <message>
        <source>The store of {url} can&apos;t be reached: {reason}.</source>
        <translation>无法连接 {url} 所在的存储：{reason}。</translation>
    </message>
    <message>
        <source>Check the network of this computer and the address of the store.</source>
        <translation>请检查本机的网络和存储的地址。</translation>
    </message>
    <message>
        <source>{url}: {count} files. One cast can send at most {most} files from stores.</source>
        <translation>{url}：{count} 个文件。一次传输最多只能发送存储中的 {most} 个文件。</translation>
    </message>
    <message>
        <source>Send its folders one after another, or select files with --include or --exclude.</source>
        <translation>请逐个发送其中的文件夹，或用 --include 或 --exclude 选择文件。</translation>
    </message>
    <message>
        <source>No room: {free} free, {needed} needed</source>
        <translation>空间不足：剩余 {free}，需要 {needed}</translation>
    </message>
    <message>
        <source>No room: {free} free, {needed} needed with {others} on the same disk</source>
        <translation>空间不足：剩余 {free}，与同一磁盘上的 {others} 共需 {needed}</translation>
    </message>
    <message>
        <source>Can&apos;t write to {path}: {reason}</source>
        <translation>无法写入 {path}：{reason}</translation>
    </message>
    <message>
        <source>{path} is not a folder</source>
        <translation>{path} 不是文件夹</translation>
    </message>
    <message>
        <source>Can&apos;t store both {other} and {path}</source>
        <translation>无法同时保存 {other} 和 {path}</translation>
    </message>
    <message>
        <source>Could not write {path}: {reason}</source>
        <translation>写入 {path} 失败：{reason}</translation>
    </message>
    <message>
        <source>Could not read back {path}: {reason}</source>
        <translation>回读 {path} 失败：{reason}</translation>
    </message>
    <message>
        <source>{path} arrived damaged, twice</source>
        <translation>{path} 两次到达时都已损坏</translation>
    </message>
    <message>
        <source>The copy of {path} on {upstream} was changed or damaged: {reason}</source>
        <translation>{upstream} 上的 {path} 副本已被更改或损坏：{reason}</translation>
    </message>
    <message>
        <source>Connection to {upstream} lost: {reason}</source>
        <translation>与 {upstream} 的连接中断：{reason}</translation>
    </message>
    <message>
        <source>No connection to {upstream} in either direction: {reason}</source>
        <translation>与 {upstream} 双向都无法连接：{reason}</translation>
    </message>
    <message>
        <source>Certificates of this node and {upstream} don&apos;t match: {reason}</source>
        <translation>此节点与 {upstream} 的证书互不信任：{reason}</translation>
    </message>
    <message>
        <source>Can&apos;t encrypt connections: {reason}</source>
        <translation>无法加密连接：{reason}</translation>
    </message>
    <message>
        <source>Went offline</source>
        <translation>已离线</translation>
    </message>
    <message>
        <source>{count} entries not removed, among them {path}: {reason}</source>
        <translation>{count} 个条目未能删除，其中包括 {path}：{reason}</translation>
    </message>
    <message>
        <source>The copy of {writer}, which shares the folder, failed</source>
        <translation>共用此文件夹的 {writer} 复制失败</translation>
    </message>
    <message>
        <source>The agent could not be started: {reason}</source>
        <translation>无法启动代理：{reason}</translation>
    </message>
    <message>
        <source>No free port in {ports}</source>
        <translation>{ports} 中没有空闲端口</translation>
    </message>
    <message>
        <source>Missing</source>
        <translation>缺失</translation>
    </message>
    <message>
        <source>Unreadable</source>
        <translation>无法读取</translation>
    </message>
    <message>
        <source>Unreadable: {reason}</source>
        <translation>无法读取：{reason}</translation>
    </message>
    <message>
        <source>Not a file or folder</source>
        <translation>不是文件或文件夹</translation>
    </message>
    <message>
        <source>Same name twice</source>
        <translation>重名</translation>
    </message>
    <message>
        <source>No room: {needed} needed, {free}</source>
        <translation>空间不足：需要 {needed}，{free}</translation>
    </message>
    <message>
        <source>{node} keeps {size} of failed deliveries for a retry.</source>
        <translation>{node} 为重试保留了失败传输的 {size} 数据。</translation>
    </message>
    <message>
        <source>Retry the casts, or remove them from the list. What is kept is removed after a day, and as soon as another cast needs the room.</source>
        <translation>请重试这些传输，或将其从列表中移除。保留的数据会在一天后，或在其他传输需要空间时删除。</translation>
    </message>
    <message>
        <source>Fonts</source>
        <translation>字体</translation>
    </message>
    <message>
        <source>Watched folders</source>
        <translation>文件夹监视</translation>
    </message>
    <message>
        <source>{watches} folders can be watched for changes.</source>
        <translation>可以监视 {watches} 个文件夹的变化。</translation>
    </message>
    <message>
        <source>Only {watches} folders can be watched for changes.</source>
        <translation>只能监视 {watches} 个文件夹的变化。</translation>
    </message>
    <message>
        <source>a named pipe</source>
        <translation>它是命名管道</translation>
    </message>
    <message>
        <source>a socket</source>
        <translation>它是套接字</translation>
    </message>
    <message>
        <source>a device</source>
        <translation>它是设备文件</translation>
    </message>
    <message>
        <source>a name that is not UTF-8</source>
        <translation>名称不是 UTF-8 编码</translation>
    </message>
    <message>
        <source>the root of the file system</source>
        <translation>它是文件系统的根目录</translation>
    </message>
    <message>
        <source>the source could not read it</source>
        <translation>源节点无法读取</translation>
    </message>
    <message>
        <source>the source</source>
        <translation>源节点</translation>
    </message>
    <message>
        <source>room for {count} files</source>
        <translation>可再存放 {count} 个文件</translation>
    </message>
    <message>
        <source>{count} files</source>
        <translation>{count} 个文件</translation>
    </message>
    <message>
        <source>it is read-only</source>
        <translation>它是只读的</translation>
    </message>
    <message>
        <source>permission denied</source>
        <translation>没有权限</translation>
    </message>
    <message>
        <source>it is gated, and this computer is not logged in</source>
        <translation>该仓库需要授权，而本机尚未登录</translation>
    </message>
    <message>
        <source>it is gated, and this account has no access to it</source>
        <translation>该仓库需要授权，而此账号无权访问</translation>
    </message>
    <message>
        <source>the token of this computer is not valid</source>
        <translation>本机的令牌无效</translation>
    </message>
    <message>
        <source>it is disabled</source>
        <translation>该仓库已被停用</translation>
    </message>
    <message>
        <source>HF_HUB_OFFLINE is set</source>
        <translation>已设置 HF_HUB_OFFLINE</translation>
    </message>
    <message>
        <source>a repository has an owner and a name</source>
        <translation>仓库由所有者和名称组成</translation>
    </message>
    <message>
        <source>there is no revision after the @</source>
        <translation>@ 之后没有版本</translation>
    </message>
    <message>
        <source>its interval or quiet time is shorter than {seconds} s</source>
        <translation>间隔或静默时间短于 {seconds} 秒</translation>
    </message>
    <message>
        <source>it has no name</source>
        <translation>没有名称</translation>
    </message>
    <message>
        <source>it took too long</source>
        <translation>等待超时</translation>
    </message>
    <message>
        <source>it failed, see the log in {path}</source>
        <translation>启动失败，日志见 {path}</translation>
    </message>
    <message>
        <source>no engine is running</source>
        <translation>没有正在运行的引擎</translation>
    </message>
    <message>
        <source>the engine closed the connection</source>
        <translation>引擎关闭了连接</translation>
    </message>
    <message>
        <source>there is no connection yet</source>
        <translation>尚未建立连接</translation>
    </message>
    <message>
        <source>the connection was closed</source>
        <translation>连接已关闭</translation>
    </message>
    <message>
        <source>CastRay keeps trying for another minute. Wait or cancel, and check the load of its head node.</source>
        <translation>CastRay 会再尝试一分钟。可以等待或取消，并查看其头节点的负载。</translation>
    </message>
    <message>
        <source>the connection was closed during the handshake</source>
        <translation>连接在握手时被关闭</translation>
    </message>
    <message>
        <source>the handshake took too long</source>
        <translation>握手超时</translation>
    </message>
    <message>
        <source>the file ends too early</source>
        <translation>文件提前结束</translation>
    </message>
    <message>
        <source>the peer does not know this cast&apos;s secret</source>
        <translation>对方不知道这次传输的密钥</translation>
    </message>
    <message>
        <source>this node is closing</source>
        <translation>对方节点正在关闭</translation>
    </message>
    <message>
        <source>Ray has no connection to it</source>
        <translation>无法经由 Ray 到达该节点</translation>
    </message>
    <message>
        <source>no port in {low}-{high}</source>
        <translation>{low}-{high} 中没有可用的端口</translation>
    </message>
    <message>
        <source>these files have been closed</source>
        <translation>这些文件已关闭</translation>
    </message>
    <message>
        <source>the server redirects too many times</source>
        <translation>服务器重定向次数过多</translation>
    </message>
    <message>
        <source>done</source>
        <translation>已完成</translation>
    </message>
    <message>
        <source>not allowed on this node: {reason}</source>
        <translation>该节点不允许：{reason}</translation>
    </message>
    <message>
        <source>{program} is not in its list of programs</source>
        <translation>{program} 不在允许的程序之列</translation>
    </message>
    <message>
        <source>allow it there with {setting} in {path}</source>
        <translation>请在该节点的 {path} 中写入 {setting} 以允许</translation>
    </message>
    <message>
        <source>{path} can&apos;t be used: {error}</source>
        <translation>{path} 无法使用：{error}</translation>
    </message>
    <message>
        <source>not a command: {error}</source>
        <translation>不是有效的命令：{error}</translation>
    </message>
    <message>
        <source>not a command: it is empty</source>
        <translation>命令为空</translation>
    </message>
    <message>
        <source>could not be started: {error}</source>
        <translation>无法启动：{error}</translation>
    </message>
    <message>
        <source>a parcel without a manifest</source>
        <translation>收到的内容缺少清单</translation>
    </message>
    <message>
        <source>Broken pipe</source>
        <translation>连接已断开</translation>
    </message>
    <message>
        <source>Connection refused</source>
        <translation>连接被拒绝</translation>
    </message>
    <message>
        <source>Connection reset by peer</source>
        <translation>连接被对方重置</translation>
    </message>
    <message>
        <source>Connection timed out</source>
        <translation>连接超时</translation>
    </message>
    <message>
        <source>Device or resource busy</source>
        <translation>设备或资源忙</translation>
    </message>
    <message>
        <source>Disk quota exceeded</source>
        <translation>超出磁盘配额</translation>
    </message>
    <message>
        <source>File too large</source>
        <translation>文件过大</translation>
    </message>
    <message>
        <source>File name too long</source>
        <translation>文件名过长</translation>
    </message>
    <message>
        <source>Host is down</source>
        <translation>主机无响应</translation>
    </message>
    <message>
        <source>Input/output error</source>
        <translation>输入/输出错误</translation>
    </message>
    <message>
        <source>Name or service not known</source>
        <translation>无法解析主机名</translation>
    </message>
    <message>
        <source>Network is unreachable</source>
        <translation>网络不可达</translation>
    </message>
    <message>
        <source>No route to host</source>
        <translation>没有到主机的路由</translation>
    </message>
    <message>
        <source>No space left on device</source>
        <translation>磁盘空间不足</translation>
    </message>
    <message>
        <source>No such file or directory</source>
        <translation>没有该文件或文件夹</translation>
    </message>
    <message>
        <source>Not a directory</source>
        <translation>不是文件夹</translation>
    </message>
    <message>
        <source>Operation not permitted</source>
        <translation>操作不被允许</translation>
    </message>
    <message>
        <source>Permission denied</source>
        <translation>没有权限</translation>
    </message>
    <message>
        <source>Read-only file system</source>
        <translation>文件系统是只读的</translation>
    </message>
    <message>
        <source>Stale file handle</source>
        <translation>文件句柄已失效</translation>
    </message>
    <message>
        <source>Temporary failure in name resolution</source>
        <translation>域名解析暂时失败</translation>
    </message>
    <message>
        <source>Too many open files</source>
        <translation>打开的文件过多</translation>
    </message>
    <message>
        <source>timed out</source>
        <translation>超时</translation>
    </message>
    <message>
        <source>this computer</source>
        <translation>本机</translation>
    </message>
    <message>
        <source>{user} does not have permission to read {path}.</source>
        <translation>{user} 没有读取 {path} 的权限。</translation>
    </message>
    <message>
        <source>Change its permissions, or send it as a user who can read it.</source>
        <translation>请修改文件权限，或改用有读取权限的用户发送。</translation>
    </message>
    <message>
        <source>Send only files, folders and symbolic links, or exclude it with --exclude.</source>
        <translation>只能发送文件、文件夹和符号链接；也可以用 --exclude 将它排除。</translation>
    </message>
    <message>
        <source>{path} is a symbolic link to {target}, which does not exist.</source>
        <translation>{path} 是指向 {target} 的符号链接，但目标不存在。</translation>
    </message>
    <message>
        <source>Fix the link, exclude it with --exclude, or send it as a link with --links keep.</source>
        <translation>请修复该链接、用 --exclude 排除它，或用 --links keep 将它作为链接发送。</translation>
    </message>
    <message>
        <source>Specify at least one file or folder.</source>
        <translation>请至少指定一个文件或文件夹。</translation>
    </message>
    <message>
        <source>Two of the items to send are named {name}.</source>
        <translation>要发送的内容中有两项都叫 {name}。</translation>
    </message>
    <message>
        <source>Send them separately, or rename one of them.</source>
        <translation>请分两次发送，或重命名其中一项。</translation>
    </message>
    <message>
        <source>{first} and {second} are different, and both would arrive as {name}.</source>
        <translation>{first} 和 {second} 内容不同，但都会以 {name} 为名送达。</translation>
    </message>
    <message>
        <source>Send one of them separately, to another folder.</source>
        <translation>请将其中一个单独发送到其他文件夹。</translation>
    </message>
    <message>
        <source>{address} is not a Hugging Face Hub address: {reason}.</source>
        <translation>{address} 不是 Hugging Face Hub 的地址：{reason}。</translation>
    </message>
    <message>
        <source>None of the nodes in {group} are in this cluster.</source>
        <translation>这个集群里没有 {group} 的节点。</translation>
    </message>
    <message>
        <source>Attach to the cluster that the group was created for, or save the group again with nodes of this cluster.</source>
        <translation>请连接该分组所属的集群，或用现有节点重新保存该分组。</translation>
    </message>
    <message>
        <source>{group} is not a valid group name.</source>
        <translation>{group} 不能用作分组名称。</translation>
    </message>
    <message>
        <source>Use up to 60 letters, digits and spaces, but no commas, slashes or @.</source>
        <translation>请使用字母、数字和空格，最多 60 个字符，不含逗号、斜杠和 @。</translation>
    </message>
    <message>
        <source>{node} is not a valid node name.</source>
        <translation>{node} 不能用作节点名称。</translation>
    </message>
    <message>
        <source>Use up to 60 letters, digits, dots, hyphens and underscores.</source>
        <translation>名称只能包含字母、数字、点、连字符和下划线，最多 60 个字符。</translation>
    </message>
    <message>
        <source>{rate} is not a speed.</source>
        <translation>{rate} 不是有效的速率。</translation>
    </message>
    <message>
        <source>Patterns can&apos;t include excluded files again. Remove the line, or write \! for a name that begins with !.</source>
        <translation>已被排除的内容无法再次包含。请删除这一行；名称以 ! 开头时请写成 \!。</translation>
    </message>
    <message>
        <source>{path} is a relative path, but paths on {node} must be absolute.</source>
        <translation>{path} 是相对路径，但 {node} 上的路径必须是绝对路径。</translation>
    </message>
    <message>
        <source>{number} is out of range.</source>
        <translation>{number} 超出允许范围。</translation>
    </message>
    <message>
        <source>Enter a number from 0 to {most}.</source>
        <translation>请填写 0 到 {most} 之间的数。</translation>
    </message>
    <message>
        <source>{destination} is not a valid destination.</source>
        <translation>{destination} 不能用作保存位置。</translation>
    </message>
    <message>
        <source>Enter an absolute path on the recipients; it may contain {{node}}.</source>
        <translation>请填写接收节点上的绝对路径，其中可以包含 {{node}}。</translation>
    </message>
    <message>
        <source>{name} is not a valid schedule: {reason}.</source>
        <translation>计划 {name} 无效：{reason}。</translation>
    </message>
    <message>
        <source>{schedule} matches several schedules: {schedules}.</source>
        <translation>{schedule} 对应多个计划：{schedules}。</translation>
    </message>
    <message>
        <source>Specify one by its id.</source>
        <translation>请用 ID 指明是哪一个。</translation>
    </message>
    <message>
        <source>Removing files that the source no longer has works only for folders, and only if existing files are overwritten.</source>
        <translation>要删除源节点上已不存在的内容，发送的必须是文件夹，并且同名文件须设为覆盖。</translation>
    </message>
    <message>
        <source>Send folders with --on-conflict overwrite, or omit --delete.</source>
        <translation>请发送文件夹并使用 --on-conflict overwrite，或去掉 --delete。</translation>
    </message>
    <message>
        <source>This cast requires encryption, and multicast can&apos;t be encrypted.</source>
        <translation>组播无法加密，而这次传输必须加密。</translation>
    </message>
    <message>
        <source>{path} can&apos;t be stored as a Hugging Face cache.</source>
        <translation>{path} 无法按 Hugging Face Hub 的缓存结构存放。</translation>
    </message>
    <message>
        <source>Use --layout hf-cache only for addresses that begin with hf://.</source>
        <translation>--layout hf-cache 仅适用于以 hf:// 开头的地址。</translation>
    </message>
    <message>
        <source>A Hugging Face cache can&apos;t be delivered under other names.</source>
        <translation>Hugging Face Hub 的缓存不能以其他名称存放。</translation>
    </message>
    <message>
        <source>Omit --on-conflict rename, or use --layout plain.</source>
        <translation>请去掉 --on-conflict rename，或使用 --layout plain。</translation>
    </message>
    <message>
        <source>There is no node named {node}.</source>
        <translation>没有名为 {node} 的节点。</translation>
    </message>
    <message>
        <source>Available nodes: {nodes}.</source>
        <translation>现有节点：{nodes}。</translation>
    </message>
    <message>
        <source>There is no group named {group}.</source>
        <translation>没有名为 {group} 的分组。</translation>
    </message>
    <message>
        <source>Available groups: {groups}.</source>
        <translation>现有分组：{groups}。</translation>
    </message>
    <message>
        <source>Job {job} no longer exists.</source>
        <translation>任务 {job} 已不存在。</translation>
    </message>
    <message>
        <source>It has ended, and its result was already reported.</source>
        <translation>它已结束，结果此前已经给出。</translation>
    </message>
    <message>
        <source>A node named {node} already exists.</source>
        <translation>节点 {node} 已存在。</translation>
    </message>
    <message>
        <source>{node} is already a recipient of this cast.</source>
        <translation>{node} 已经是这次传输的接收节点。</translation>
    </message>
    <message>
        <source>Specify other nodes.</source>
        <translation>请指定其他节点。</translation>
    </message>
    <message>
        <source>Cast {cast} has already ended.</source>
        <translation>传输 {cast} 已经结束。</translation>
    </message>
    <message>
        <source>It can no longer be changed.</source>
        <translation>已无法再对它进行更改。</translation>
    </message>
    <message>
        <source>Wait until it ends, or cancel it.</source>
        <translation>请等待其结束，或取消它。</translation>
    </message>
    <message>
        <source>Only casts that are waiting in the queue can be moved.</source>
        <translation>只有排队等待的传输才能移动位置。</translation>
    </message>
    <message>
        <source>No delivery of cast {cast} has failed on these nodes.</source>
        <translation>传输 {cast} 在这些节点上没有失败。</translation>
    </message>
    <message>
        <source>To send the files to all recipients again, use Send again.</source>
        <translation>如需让所有节点再接收一次，请使用“再次发送”。</translation>
    </message>
    <message>
        <source>Cast {cast} has delivered no files that could be verified.</source>
        <translation>传输 {cast} 没有送达可供校验的文件。</translation>
    </message>
    <message>
        <source>{path} on {node} was written by a newer version of CastRay, and this one can&apos;t read it.</source>
        <translation>{node} 上的 {path} 由更新版本的 CastRay 写入，此版本无法读取。</translation>
    </message>
    <message>
        <source>The list of files of cast {cast} is no longer available.</source>
        <translation>传输 {cast} 的文件列表已不再保留。</translation>
    </message>
    <message>
        <source>A schedule named {name} already exists.</source>
        <translation>已有名为 {name} 的计划。</translation>
    </message>
    <message>
        <source>Choose another name, or change or remove the existing schedule.</source>
        <translation>请换一个名称，或更改、删除原有的计划。</translation>
    </message>
    <message>
        <source>Check those machines; logs/driver.log in CastRay&apos;s data folder has more details from Ray.</source>
        <translation>请检查这些机器；CastRay 数据文件夹中的 logs/driver.log 有 Ray 的更多信息。</translation>
    </message>
    <message>
        <source>The cast is waiting for its cluster {target}.</source>
        <translation>传输正在等待集群 {target}。</translation>
    </message>
    <message>
        <source>Ray could not be started after {attempts} attempts: {reason}</source>
        <translation>Ray 启动失败（已尝试 {attempts} 次）：{reason}</translation>
    </message>
    <message>
        <source>Check the address, and that Ray is running there.</source>
        <translation>请检查地址，并确认 Ray 正在该处运行。</translation>
    </message>
    <message>
        <source>{target} accepts connections but does not respond.</source>
        <translation>{target} 接受连接，但没有响应。</translation>
    </message>
    <message>
        <source>Check the port: a Ray head node listens on 6379, and on 10001 for ray://.</source>
        <translation>请检查端口：Ray 头节点监听 6379，ray:// 则是 10001。</translation>
    </message>
    <message>
        <source>The cluster {target} is gone: its head node no longer responds.</source>
        <translation>集群 {target} 已断开：它的头节点不再响应。</translation>
    </message>
    <message>
        <source>CastRay attaches again as soon as the cluster is back.</source>
        <translation>集群恢复后，CastRay 会自动重新连接。</translation>
    </message>
    <message>
        <source>Specify which one to use by its address.</source>
        <translation>请用地址指明要使用的那一个。</translation>
    </message>
    <message>
        <source>This machine is not part of a Ray cluster.</source>
        <translation>本机不属于任何 Ray 集群。</translation>
    </message>
    <message>
        <source>Specify the address of a cluster, or start a local one.</source>
        <translation>请给出集群的地址，或启动本地集群。</translation>
    </message>
    <message>
        <source>No Ray cluster is running on this computer, but CastRay has used other clusters before: {clusters}.</source>
        <translation>本机没有运行 Ray 集群，而 CastRay 之前使用过其他集群：{clusters}。</translation>
    </message>
    <message>
        <source>Specify the cluster with --cluster HOST:PORT, or use the demo on this computer with --cluster local.</source>
        <translation>请用 --cluster HOST:PORT 指定集群，或用 --cluster local 使用本机的演示集群。</translation>
    </message>
    <message>
        <source>{target} is not a Ray cluster.</source>
        <translation>{target} 不是 Ray 集群。</translation>
    </message>
    <message>
        <source>The cluster {target} requires an authentication token.</source>
        <translation>集群 {target} 需要身份验证令牌。</translation>
    </message>
    <message>
        <source>Save the token in ~/.ray/auth_token, or set RAY_AUTH_TOKEN for CastRay, then attach again.</source>
        <translation>请把令牌写入 ~/.ray/auth_token，或为 CastRay 设置 RAY_AUTH_TOKEN，然后重新连接。</translation>
    </message>
    <message>
        <source>Replace it with the cluster&apos;s token, then attach again.</source>
        <translation>请换成该集群的令牌，然后重新连接。</translation>
    </message>
    <message>
        <source>This computer is not a node of the cluster {target}, and only nodes can attach.</source>
        <translation>本机不是集群 {target} 的节点，只有节点才能连接。</translation>
    </message>
    <message>
        <source>Use the cluster&apos;s client server, ray://{host}:10001; or make this computer a node that runs no tasks: castray cluster join {target}</source>
        <translation>请使用该集群的客户端服务器：ray://{host}:10001；或让本机作为不运行任务的节点加入：castray cluster join {target}</translation>
    </message>
    <message>
        <source>This computer is a node of the cluster {others}, not of {target}, and only nodes can attach.</source>
        <translation>本机是集群 {others} 的节点，不是 {target} 的节点，而只有节点才能连接。</translation>
    </message>
    <message>
        <source>Use {others}; or use the client server of {target}, ray://{host}:10001; or make this computer a node of it as well: castray cluster join {target}</source>
        <translation>请使用 {others}；或使用 {target} 的客户端服务器：ray://{host}:10001；或让本机也加入该集群：castray cluster join {target}</translation>
    </message>
    <message>
        <source>The token of the shared cluster, {path}, can be read or changed by other users.</source>
        <translation>共享集群的令牌 {path} 可被其他用户读取或修改。</translation>
    </message>
    <message>
        <source>Run castray cluster share --new-token to create a new one.</source>
        <translation>请运行 castray cluster share --new-token 更换令牌。</translation>
    </message>
    <message>
        <source>A shared cluster can&apos;t be started here: {reason}.</source>
        <translation>无法在此启动共享集群：{reason}。</translation>
    </message>
    <message>
        <source>It requires a network address, and Ray 2.52 or later for token authentication. A local cluster still works.</source>
        <translation>这需要一个网络地址，以及支持令牌验证的 Ray 2.52 或更高版本；本地集群不受影响。</translation>
    </message>
    <message>
        <source>The cluster {target} responds, but has not accepted CastRay&apos;s connection for {seconds} seconds.</source>
        <translation>集群 {target} 有响应，但 {seconds} 秒内仍未接受 CastRay 的连接。</translation>
    </message>
    <message>
        <source>A busy computer takes longer, so CastRay waits for another minute. Wait or cancel.</source>
        <translation>电脑繁忙时需要更久，CastRay 会继续等待一分钟。可以等待或取消。</translation>
    </message>
    <message>
        <source>Prepare a driver with that version of Ray: castray cluster prepare {target}</source>
        <translation>请为它准备相应 Ray 版本的驱动进程：castray cluster prepare {target}</translation>
    </message>
    <message>
        <source>A driver with Ray {ray} requires Python {python}, which is not installed on this computer.</source>
        <translation>本机没有 Python {python}，而使用 Ray {ray} 的驱动进程需要它。</translation>
    </message>
    <message>
        <source>Install it, or install uv, which can download it; or set CASTRAY_DRIVER_PYTHON to an interpreter that has that version of Ray.</source>
        <translation>请安装该版本的 Python，或安装可自动获取它的 uv；也可以用 CASTRAY_DRIVER_PYTHON 指定一个已装有该 Ray 的解释器。</translation>
    </message>
    <message>
        <source>Start it with: castray engine start</source>
        <translation>请重新启动引擎：castray engine start</translation>
    </message>
    <message>
        <source>The running CastRay engine has a different version.</source>
        <translation>正在运行的 CastRay 引擎版本不同。</translation>
    </message>
    <message>
        <source>Close other CastRay windows, or run: castray engine stop</source>
        <translation>请关闭其他 CastRay 窗口，或运行：castray engine stop</translation>
    </message>
    <message>
        <source>{path} was written by CastRay {version}, which is newer than this version, so this version can&apos;t use it. Nothing was changed.</source>
        <translation>{path} 由更新的 CastRay {version} 写入，此版本无法使用。未做任何更改。</translation>
    </message>
    <message>
        <source>Choose another folder, or free up space there.</source>
        <translation>请另选一个文件夹，或在那里腾出空间。</translation>
    </message>
    <message>
        <source>It receives the files when it is back online; you can cancel this.</source>
        <translation>它恢复在线后会立即收到文件；你也可以取消等待。</translation>
    </message>
    <message>
        <source>No online node still has the files for {node}: on {source} they were removed or have changed.</source>
        <translation>在线节点都已没有要发给 {node} 的文件：{source} 上的文件已被删除或发生了变化。</translation>
    </message>
    <message>
        <source>The cluster {target} is not available, so the run is waiting.</source>
        <translation>集群 {target} 不可用，本次运行正在等待。</translation>
    </message>
    <message>
        <source>It starts as soon as the cluster is available.</source>
        <translation>集群可用后会立即运行。</translation>
    </message>
    <message>
        <source>The previous run of {name} is still in progress.</source>
        <translation>计划“{name}”的上一次运行尚未结束。</translation>
    </message>
    <message>
        <source>Wait until it ends, or cancel its cast.</source>
        <translation>请等待其结束，或取消该次传输。</translation>
    </message>
    <message>
        <source>Send it again when no program is writing to it.</source>
        <translation>请在没有程序写入该文件时重新发送。</translation>
    </message>
    <message>
        <source>The Hub has no repository {repository} that this computer can read.</source>
        <translation>Hub 上没有本机可以读取的仓库 {repository}。</translation>
    </message>
    <message>
        <source>Check the name of the revision on the Hub.</source>
        <translation>请在 Hub 上检查该版本的名称。</translation>
    </message>
    <message>
        <source>Check the path on the Hub; paths are case-sensitive.</source>
        <translation>请在 Hub 上检查路径；路径区分大小写。</translation>
    </message>
    <message>
        <source>The Hub does not allow this computer to read {repository}: {reason}.</source>
        <translation>Hub 不允许本机读取 {repository}：{reason}。</translation>
    </message>
    <message>
        <source>The files changed while {node} was offline, so the cast could not continue.</source>
        <translation>{node} 离线期间文件发生了变化，传输无法继续。</translation>
    </message>
    <message>
        <source>The server of {url} is busy: {reason}.</source>
        <translation>{url} 的服务器繁忙：{reason}。</translation>
    </message>
    <message>
        <source>You can send it now: the cast waits for the server.</source>
        <translation>现在就可以发送：传输会等待服务器。</translation>
    </message>
    <message>
        <source>Check the address, and that this node is allowed to download it.</source>
        <translation>请检查网址，以及该节点是否有权下载。</translation>
    </message>
    <message>
        <source>The server of {url} stopped responding: {reason}.</source>
        <translation>{url} 所在的服务器停止响应：{reason}。</translation>
    </message>
    <message>
        <source>Retry when it responds again. The download continues where it stopped.</source>
        <translation>服务器恢复响应后请重试。下载将从中断处继续。</translation>
    </message>
    <message>
        <source>None of the nodes that were tried can download {url} ({reasons}).</source>
        <translation>尝试过的节点都无法下载 {url}（{reasons}）。</translation>
    </message>
    <message>
        <source>Check the address, or choose a node that can reach the server.</source>
        <translation>请检查地址，或选择能访问该服务器的节点。</translation>
    </message>
    <message>
        <source>The {checksum} checksum of {url} differs from the one that its server reports.</source>
        <translation>{url} 的 {checksum} 校验和与服务器提供的不一致。</translation>
    </message>
    <message>
        <source>Send it again. If this happens again, the file on the server is damaged.</source>
        <translation>请重新发送；若再次出现，说明服务器上的文件已损坏。</translation>
    </message>
    <message>
        <source>{url} can&apos;t be resolved: unknown type of store.</source>
        <translation>无法解析 {url}：不支持这种存储。</translation>
    </message>
    <message>
        <source>{url} can&apos;t be resolved: support for object stores is not installed here.</source>
        <translation>无法解析 {url}：本机未安装对象存储支持。</translation>
    </message>
    <message>
        <source>Check the names, including upper and lower case.</source>
        <translation>请检查名称，注意大小写。</translation>
    </message>
    <message>
        <source>{url} can&apos;t be saved as a file: {reason}.</source>
        <translation>{url} 无法存为文件：{reason}。</translation>
    </message>
    <message>
        <source>Rename it in the store, or send other objects.</source>
        <translation>请在存储中重命名，或改为发送其他对象。</translation>
    </message>
    <message>
        <source>Check the credentials of this computer and their permissions.</source>
        <translation>请检查本机的凭据及其权限。</translation>
    </message>
    <message>
        <source>The credentials of this computer can&apos;t create a link to {url}: {reason}.</source>
        <translation>无法用本机的凭据为 {url} 生成链接：{reason}。</translation>
    </message>
    <message>
        <source>The download is waiting: {reason}.</source>
        <translation>下载正在等待：{reason}。</translation>
    </message>
    <message>
        <source>It continues automatically.</source>
        <translation>会自动继续。</translation>
    </message>
    <message>
        <source>{path} could not be read completely: {reason}.</source>
        <translation>未能读完 {path}：{reason}。</translation>
    </message>
    <message>
        <source>Check the disk that it is on.</source>
        <translation>请检查该文件所在的磁盘。</translation>
    </message>
    <message>
        <source>Free up space there, or choose another destination.</source>
        <translation>请在该节点腾出空间，或选择其他保存位置。</translation>
    </message>
    <message>
        <source>Free up space there, or choose fewer recipients or another destination.</source>
        <translation>请腾出空间，或减少接收节点，或选择其他保存位置。</translation>
    </message>
    <message>
        <source>{node} can&apos;t store a file named {path}.</source>
        <translation>{node} 无法保存名为 {path} 的文件。</translation>
    </message>
    <message>
        <source>Rename it on the source, then send it again.</source>
        <translation>请在源节点上重命名该文件，然后重新发送。</translation>
    </message>
    <message>
        <source>{node} can&apos;t store both {other} and {path}: they are the same name on its file system.</source>
        <translation>{node} 无法同时保存 {other} 和 {path}：在它的文件系统中，这是同一个名称。</translation>
    </message>
    <message>
        <source>Rename one of them on the source, or choose another destination, then send again.</source>
        <translation>请在源节点上重命名其中一个，或选择其他保存位置，然后重新发送。</translation>
    </message>
    <message>
        <source>Check the memory and network of {node} and {upstream}, then send again.</source>
        <translation>请检查 {node} 和 {upstream} 的内存与网络，然后重新发送。</translation>
    </message>
    <message>
        <source>{node} can&apos;t get {path} from {upstream}, because the copy there was changed or damaged: {reason}.</source>
        <translation>{node} 无法从 {upstream} 取得 {path}：那里的副本已被更改或损坏（{reason}）。</translation>
    </message>
    <message>
        <source>Send it to {node} again, and don&apos;t change delivered copies until the cast has ended.</source>
        <translation>请再次发送给 {node}，并在传输结束之前不要改动已送达的副本。</translation>
    </message>
    <message>
        <source>Open the data port of one of them to the other; CASTRAY_DATA_PORTS sets which port. Or send without --transport direct, so that files can go through Ray.</source>
        <translation>请为其中一方开放另一方的数据端口（可用 CASTRAY_DATA_PORTS 指定端口）；或者不使用 --transport direct，让文件可以经由 Ray 传输。</translation>
    </message>
    <message>
        <source>If Ray uses TLS, check that both have certificates from the authority in RAY_TLS_CA_CERT. Otherwise, something between them may be impersonating them.</source>
        <translation>如果 Ray 使用 TLS，请检查两者的证书是否都由 RAY_TLS_CA_CERT 中的证书颁发机构签发；否则，两者之间可能有其他程序冒名应答。</translation>
    </message>
    <message>
        <source>{node} has not responded for {seconds} seconds.</source>
        <translation>{node} 已有 {seconds} 秒没有响应。</translation>
    </message>
    <message>
        <source>{node} is online, but its inbox does not respond: {path}.</source>
        <translation>{node} 在线，但它的收件箱没有响应：{path}。</translation>
    </message>
    <message>
        <source>Check the file system mounted there; until it responds, send to another folder.</source>
        <translation>请检查那里挂载的文件系统；在它恢复响应之前，请发送到其他文件夹。</translation>
    </message>
    <message>
        <source>{path} on {node} does not respond.</source>
        <translation>{node} 上的 {path} 没有响应。</translation>
    </message>
    <message>
        <source>Check the file system mounted there, or choose another destination.</source>
        <translation>请检查那里挂载的文件系统，或选择其他保存位置。</translation>
    </message>
    <message>
        <source>{node} is offline at the moment.</source>
        <translation>{node} 暂时离线。</translation>
    </message>
    <message>
        <source>The cast continues when it is back; no action is needed.</source>
        <translation>它恢复后传输会自动继续，无需任何操作。</translation>
    </message>
    <message>
        <source>{node} does not support the hash that this cast uses ({hashes}).</source>
        <translation>{node} 不支持这次传输使用的哈希算法（{hashes}）。</translation>
    </message>
    <message>
        <source>Send to it in a separate cast.</source>
        <translation>请单独向它发送。</translation>
    </message>
    <message>
        <source>CastRay tries again automatically; logs/driver.log in CastRay&apos;s data folder has more details from Ray.</source>
        <translation>CastRay 会自动重试；CastRay 数据文件夹中的 logs/driver.log 有 Ray 的更多信息。</translation>
    </message>
    <message>
        <source>Stop the programs that use them, or choose other ports with CASTRAY_DATA_PORTS.</source>
        <translation>请结束占用这些端口的程序，或在 CASTRAY_DATA_PORTS 中换一个范围。</translation>
    </message>
    <message>
        <source>/dev/shm is too small on {node}, so Ray stores objects in {folder}, and transfers through Ray are slow there.</source>
        <translation>{node} 的 /dev/shm 太小，Ray 因此把对象存放在 {folder}；经由 Ray 的传输在该节点上会很慢。</translation>
    </message>
    <message>
        <source>The casts were already deleted from the history.</source>
        <translation>这些传输记录已被清除。</translation>
    </message>
    <message>
        <source>Their delivered files are still in place.</source>
        <translation>它们送达的文件仍在原处。</translation>
    </message>
    <message>
        <source>Check CastRay&apos;s data folder, then start the engine again.</source>
        <translation>请检查 CastRay 的数据文件夹，然后重新启动引擎。</translation>
    </message>
    <message>
        <source>Report it, and attach the log.</source>
        <translation>请附上日志反馈此问题。</translation>
    </message>
    <message>
        <source>No recipient received the multicast from {source}, so the relay delivered the files.</source>
        <translation>没有接收节点收到 {source} 发出的组播，文件已改由接力链送达。</translation>
    </message>
    <message>
        <source>Allow UDP to 239.192.0.0/14 (ff12::/16 with IPv6) in firewalls, and enable an IGMP querier for switches with IGMP snooping. Most cloud networks do not support multicast; use the relay there.</source>
        <translation>请让防火墙放行发往 239.192.0.0/14（IPv6 为 ff12::/16）的 UDP，并为启用了 IGMP 侦听的交换机配置查询器。云网络大多不支持组播，在那里请使用接力链。</translation>
    </message>
    <message>
        <source>Multicast stayed at its lowest speed, so the relay delivered the rest.</source>
        <translation>组播一直停留在最低速率，其余部分已改由接力链送达。</translation>
    </message>
    <message>
        <source>Most datagrams are lost on the way: check the network between the nodes, or use the automatic transport, which is the relay.</source>
        <translation>大部分数据报在途中丢失：请检查节点之间的网络，或将传输方式设为“自动选择”，这样会使用接力链。</translation>
    </message>
    <message>
        <source>No recipient needed multicast or could keep up with it, so the relay delivered the files.</source>
        <translation>没有接收节点需要组播，或没有接收节点跟得上组播，文件已由接力链送达。</translation>
    </message>
    <message>
        <source>Recipients on the source&apos;s machine or storage are faster without multicast. If others lose most of the data, check the network between them.</source>
        <translation>与源节点在同一台机器上或共用存储的接收节点，不用组播反而更快。如果其他节点丢失了大部分数据，请检查它们之间的网络。</translation>
    </message>
    <message>
        <source>{source} can&apos;t send multicast: {reason}. The relay delivered the files.</source>
        <translation>{source} 无法发送组播：{reason}。文件已改由接力链送达。</translation>
    </message>
    <message>
        <source>Add a multicast route to its network interface, or use the automatic transport.</source>
        <translation>请为其网络设备添加组播路由，或将传输方式设为“自动选择”。</translation>
    </message>
    <message>
        <source>Ray encrypts its connections here, and multicast can&apos;t be encrypted, so the relay delivered the files.</source>
        <translation>此处的 Ray 连接已加密，而组播无法加密，因此文件由接力链送达。</translation>
    </message>
    <message>
        <source>Use the automatic transport: it encrypts files wherever Ray is encrypted.</source>
        <translation>请将传输方式设为“自动选择”：在 Ray 加密的地方，文件也会保持加密。</translation>
    </message>
    <message>
        <source>{source} went offline before multicast was complete, so a recipient supplied the others.</source>
        <translation>{source} 在组播完成之前离线，其余节点改由一个接收节点供给。</translation>
    </message>
    <message>
        <source>Check {source} before you send from it again.</source>
        <translation>再次从 {source} 发送之前，请先查明它的情况。</translation>
    </message>
    <message>
        <source>The cast ended before it was known whether multicast works.</source>
        <translation>尚未确认组播能否送达，本次传输就已结束。</translation>
    </message>
    <message>
        <source>The relay delivers this little data in a moment. Multicast pays off for large casts only.</source>
        <translation>这么少的内容，接力链瞬间即可送完。只有较大的传输才值得使用组播。</translation>
    </message>
    <message>
        <source>Can&apos;t store a file named {path}</source>
        <translation>无法保存名为 {path} 的文件</translation>
    </message>
    <message>
        <source>No response for {seconds} s</source>
        <translation>{seconds} 秒无响应</translation>
    </message>
    <message>
        <source>Its inbox does not respond: {path}</source>
        <translation>收件箱无响应：{path}</translation>
    </message>
    <message>
        <source>{path} does not respond</source>
        <translation>{path} 无响应</translation>
    </message>
    <message>
        <source>Offline at the moment</source>
        <translation>暂时离线</translation>
    </message>
    <message>
        <source>Offline; receives the files when it is back online</source>
        <translation>离线；恢复后会收到文件</translation>
    </message>
    <message>
        <source>No online node still has the files</source>
        <translation>在线节点中已无人持有这些文件</translation>
    </message>
    <message>
        <source>The files changed while this node was offline</source>
        <translation>此节点离线期间文件发生了变化</translation>
    </message>
    <message>
        <source>Hash not supported: {hashes}</source>
        <translation>不支持的哈希算法：{hashes}</translation>
    </message>
    <message>
        <source>Broken link</source>
        <translation>失效链接</translation>
    </message>
    <message>
        <source>Server busy</source>
        <translation>服务器繁忙</translation>
    </message>
    <message>
        <source>No cluster is in use, so nodes were not checked.</source>
        <translation>当前没有使用任何集群，因此未检查节点。</translation>
    </message>
    <message>
        <source>Start or attach one, then check again.</source>
        <translation>请先启动或连接一个集群，再重新检查。</translation>
    </message>
    <message>
        <source>{node} responds: Ray {ray} on Python {python}, {system}.</source>
        <translation>{node} 有响应：Ray {ray}，Python {python}，{system}。</translation>
    </message>
    <message>
        <source>Check that machine, and that Ray is running there.</source>
        <translation>请检查该机器，并确认其上的 Ray 正在运行。</translation>
    </message>
    <message>
        <source>{node} does not respond: {reason}</source>
        <translation>{node} 没有响应：{reason}</translation>
    </message>
    <message>
        <source>{node} is still starting.</source>
        <translation>{node} 仍在启动中。</translation>
    </message>
    <message>
        <source>Check again in a moment, when it is online.</source>
        <translation>请稍候，待其上线后再检查。</translation>
    </message>
    <message>
        <source>The clock of {node} matches this computer&apos;s.</source>
        <translation>{node} 的时钟与本机一致。</translation>
    </message>
    <message>
        <source>The clock of {node} differs from this computer&apos;s by {seconds} s.</source>
        <translation>{node} 的时钟与本机相差 {seconds} 秒。</translation>
    </message>
    <message>
        <source>Synchronize both with NTP: file times and the validity of certificates depend on them.</source>
        <translation>请用 NTP 校准两边的时钟：文件时间和证书有效期都取决于时钟。</translation>
    </message>
    <message>
        <source>{node} has only {free} of {total} free in /dev/shm, so transfers through Ray are slow there.</source>
        <translation>{node} 的 /dev/shm 共 {total}，只剩 {free} 可用，经由 Ray 的传输在该节点上会很慢。</translation>
    </message>
    <message>
        <source>{node} has only {total} of /dev/shm, so Ray stores objects in {folder}, and transfers through Ray are slow there.</source>
        <translation>{node} 的 /dev/shm 只有 {total}，Ray 因此把对象存放在 {folder}；经由 Ray 的传输在该节点上会很慢。</translation>
    </message>
    <message>
        <source>Space</source>
        <translation>空间</translation>
    </message>
    <message>
        <source>{node} can write to {path}, which has {free} free.</source>
        <translation>{node} 可以写入 {path}，可用空间 {free}。</translation>
    </message>
    <message>
        <source>Free up space there, or choose another inbox.</source>
        <translation>请腾出空间，或改用其他收件箱。</translation>
    </message>
    <message>
        <source>A process on {node} can open {count} files.</source>
        <translation>{node} 上的一个进程最多可打开 {count} 个文件。</translation>
    </message>
    <message>
        <source>A process on {node} can open only {count} files.</source>
        <translation>{node} 上的一个进程最多只能打开 {count} 个文件。</translation>
    </message>
    <message>
        <source>Raise the limit before Ray is started there: ulimit -n 4096</source>
        <translation>请在该处启动 Ray 之前提高上限：ulimit -n 4096</translation>
    </message>
    <message>
        <source>All {count} connections between {nodes} nodes succeeded, the slowest in {milliseconds} ms.</source>
        <translation>{nodes} 个节点之间的 {count} 条连接全部成功，最慢的用时 {milliseconds} 毫秒。</translation>
    </message>
    <message>
        <source>{failed} of {count} connections between {nodes} nodes failed.</source>
        <translation>{nodes} 个节点之间的 {count} 条连接中有 {failed} 条失败。</translation>
    </message>
    <message>
        <source>See the connections listed below.</source>
        <translation>详见下面列出的各条连接。</translation>
    </message>
    <message>
        <source>{node} can&apos;t connect to {peer} ({address}): {reason}. The reverse direction works and is used instead.</source>
        <translation>{node} 无法连接到 {peer}（{address}）：{reason}。反方向可以连通，文件将走反方向的连接。</translation>
    </message>
    <message>
        <source>No action is needed, unless you don&apos;t expect a firewall there.</source>
        <translation>无需处理，除非这里本不应有防火墙。</translation>
    </message>
    <message>
        <source>Open TCP ports between them; CASTRAY_DATA_PORTS=LOW-HIGH limits them to a fixed range.</source>
        <translation>请在两者之间开放 TCP 端口；可用 CASTRAY_DATA_PORTS=LOW-HIGH 指定固定的端口范围。</translation>
    </message>
    <message>
        <source>Data uses {ports} on {network}.</source>
        <translation>数据传输的端口：{ports}；网络：{network}。</translation>
    </message>
    <message>
        <source>Specify a network that this computer is in.</source>
        <translation>请指定本机所在的网络。</translation>
    </message>
    <message>
        <source>Correct it, or remove it from the environment.</source>
        <translation>请改正，或将其从环境变量中删除。</translation>
    </message>
    <message>
        <source>Start it in a desktop session or with ssh -X. The command line does not need a display.</source>
        <translation>请在桌面会话中启动，或使用 ssh -X。命令行不需要显示器。</translation>
    </message>
    <message>
        <source>The window can&apos;t be opened because Qt can&apos;t be loaded: {reason}</source>
        <translation>无法加载 Qt，因此无法打开窗口：{reason}</translation>
    </message>
    <message>
        <source>Install what Qt needs with: {command}</source>
        <translation>安装 Qt 所需的库：{command}</translation>
    </message>
    <message>
        <source>{font} can display Chinese names.</source>
        <translation>{font} 可以显示中文名称。</translation>
    </message>
    <message>
        <source>No installed font has Chinese characters, so Chinese names can&apos;t be displayed.</source>
        <translation>没有包含中文的字体，因此无法显示中文名称。</translation>
    </message>
    <message>
        <source>Install one with: {command}</source>
        <translation>安装一种中文字体：{command}</translation>
    </message>
    <message>
        <source>Raise the limit: sysctl fs.inotify.max_user_watches=524288</source>
        <translation>请提高上限：sysctl fs.inotify.max_user_watches=524288</translation>
    </message>
    <message>
        <source>neither a file nor a folder</source>
        <translation>它既不是文件也不是文件夹</translation>
    </message>
    <message>
        <source>nested too deeply in folders</source>
        <translation>所在的文件夹层级过深</translation>
    </message>
    <message>
        <source>a virtual file of the kernel</source>
        <translation>由内核生成的虚拟文件</translation>
    </message>
    <message>
        <source>a link to a folder that contains it</source>
        <translation>它是指向上级文件夹的链接</translation>
    </message>
    <message>
        <source>{name} is not a valid name on the Hub</source>
        <translation>{name} 不能作为 Hub 上的名称</translation>
    </message>
    <message>
        <source>the path is incomplete</source>
        <translation>路径不完整</translation>
    </message>
    <message>
        <source>exactly one of an interval, a cron expression and a quiet time is required</source>
        <translation>间隔、cron 表达式和静默时间必须且只能设置一项</translation>
    </message>
    <message>
        <source>the cron expression {cron} never matches</source>
        <translation>cron 表达式 {cron} 永远不会触发</translation>
    </message>
    <message>
        <source>{node} would receive the files inside the folder that is sent</source>
        <translation>{node} 会把文件接收到所发送的文件夹之中</translation>
    </message>
    <message>
        <source>it has not been opened</source>
        <translation>尚未打开</translation>
    </message>
    <message>
        <source>it was written by a newer version of CastRay</source>
        <translation>它由更新版本的 CastRay 写入</translation>
    </message>
    <message>
        <source>a cluster that was removed</source>
        <translation>一个已被移除的集群</translation>
    </message>
    <message>
        <source>no program is listening on that port</source>
        <translation>该端口上没有程序在监听</translation>
    </message>
    <message>
        <source>the format is HOST:PORT or ray://HOST:PORT</source>
        <translation>格式应为 HOST:PORT 或 ray://HOST:PORT</translation>
    </message>
    <message>
        <source>it contains # or ?</source>
        <translation>名称中含有 # 或 ?</translation>
    </message>
    <message>
        <source>a part of its name is empty, . or ..</source>
        <translation>名称的某一部分为空，或是 . 或 ..</translation>
    </message>
    <message>
        <source>another file or folder has the same name</source>
        <translation>已有同名的文件或文件夹</translation>
    </message>
    <message>
        <source>it is too long</source>
        <translation>名称过长</translation>
    </message>
    <message>
        <source>the service that issues them refuses</source>
        <translation>签发凭据的服务拒绝了请求</translation>
    </message>
    <message>
        <source>they can&apos;t sign links</source>
        <translation>这些凭据无法签名链接</translation>
    </message>
    <message>
        <source>they are incomplete or invalid</source>
        <translation>凭据不完整或无效</translation>
    </message>
    <message>
        <source>the profile {profile} requires the package boto3</source>
        <translation>配置 {profile} 需要安装 boto3 包</translation>
    </message>
    <message>
        <source>it answers {status}</source>
        <translation>返回 {status}</translation>
    </message>
    <message>
        <source>there is no connection</source>
        <translation>没有连接</translation>
    </message>
    <message>
        <source>no answer within {seconds} seconds</source>
        <translation>{seconds} 秒内没有应答</translation>
    </message>
    <message>
        <source>it does not respond</source>
        <translation>没有响应</translation>
    </message>
    <message>
        <source>it is shutting down</source>
        <translation>引擎正在退出</translation>
    </message>
    <message>
        <source>it has stopped</source>
        <translation>引擎已退出</translation>
    </message>
    <message>
        <source>it stopped while the cast was running</source>
        <translation>引擎在传输过程中退出了</translation>
    </message>
    <message>
        <source>the engine has stopped</source>
        <translation>引擎已退出</translation>
    </message>
    <message>
        <source>the driver has stopped</source>
        <translation>驱动进程已退出</translation>
    </message>
    <message>
        <source>the cluster reports versions of Ray or Python that do not exist</source>
        <translation>集群报告的 Ray 或 Python 版本不存在</translation>
    </message>
    <message>
        <source>Ray {version} does not support tokens</source>
        <translation>Ray {version} 不支持令牌</translation>
    </message>
    <message>
        <source>this computer has no address that other machines can reach</source>
        <translation>本机没有他人可以访问的地址</translation>
    </message>
    <message>
        <source>no data was received for too long</source>
        <translation>长时间没有收到数据</translation>
    </message>
    <message>
        <source>the peer does not know this cast</source>
        <translation>对方没有这次传输</translation>
    </message>
    <message>
        <source>the peer uses protocol version {version}</source>
        <translation>对方使用的协议版本是 {version}</translation>
    </message>
    <message>
        <source>another process is still using it</source>
        <translation>另一个进程仍在使用</translation>
    </message>
    <message>
        <source>the server answers {answer} and asks to wait {seconds} s</source>
        <translation>服务器返回 {answer}，要求等待 {seconds} 秒</translation>
    </message>
    <message>
        <source>the server answers {answer}</source>
        <translation>服务器返回 {answer}</translation>
    </message>
    <message>
        <source>the hub answers {answer} and asks to wait {seconds} s</source>
        <translation>Hub 返回 {answer}，要求等待 {seconds} 秒</translation>
    </message>
    <message>
        <source>the hub answers {answer}</source>
        <translation>Hub 返回 {answer}</translation>
    </message>
    <message>
        <source>the hub&apos;s answer can&apos;t be understood</source>
        <translation>无法理解 Hub 的应答</translation>
    </message>
    <message>
        <source>the server does not respond</source>
        <translation>服务器没有响应</translation>
    </message>
    <message>
        <source>the server does not answer</source>
        <translation>服务器没有应答</translation>
    </message>
    <message>
        <source>the server&apos;s name is unknown</source>
        <translation>无法解析服务器的名称</translation>
    </message>
    <message>
        <source>the server&apos;s answer can&apos;t be understood</source>
        <translation>无法理解服务器的应答</translation>
    </message>
    <message>
        <source>the server&apos;s certificate is not trusted: {error}</source>
        <translation>服务器的证书不受信任：{error}</translation>
    </message>
    <message>
        <source>the server ended its answer too early</source>
        <translation>服务器的应答提前结束</translation>
    </message>
    <message>
        <source>the server does not say how long the file is</source>
        <translation>服务器没有给出文件的大小</translation>
    </message>
    <message>
        <source>the server sends the file as a whole only</source>
        <translation>服务器只能发送整个文件</translation>
    </message>
    <message>
        <source>the server sends another part of the file than was requested</source>
        <translation>服务器发送的不是所请求的那一部分</translation>
    </message>
    <message>
        <source>the server redirects to {address}</source>
        <translation>服务器重定向到 {address}</translation>
    </message>
    <message>
        <source>{path} can be changed by other users</source>
        <translation>{path} 可能被其他用户修改</translation>
    </message>
    <message>
        <source>stopped because the cast was cancelled</source>
        <translation>传输已取消，命令随之终止</translation>
    </message>
    <message>
        <source>stopped after {limit} s because it had not finished: {said}</source>
        <translation>运行 {limit} 秒仍未结束，已终止：{said}</translation>
    </message>
    <message>
        <source>stopped after {limit} s because it had not finished</source>
        <translation>运行 {limit} 秒仍未结束，已终止</translation>
    </message>
    <message>
        <source>exited with status {status}: {said}</source>
        <translation>以状态码 {status} 结束：{said}</translation>
    </message>
    <message>
        <source>exited with status {status}</source>
        <translation>以状态码 {status} 结束</translation>
    </message>
    <message>
        <source>was killed by signal {number}: {said}</source>
        <translation>被信号 {number} 终止：{said}</translation>
    </message>
    <message>
        <source>was killed by signal {number}</source>
        <translation>被信号 {number} 终止</translation>
    </message>
    <message>
        <source>any free port</source>
        <translation>任意空闲端口</translation>
    </message>
    <message>
        <source>every address</source>
        <translation>所有地址</translation>
    </message>
    <message>
        <source>ports {low} to {high}</source>
        <translation>端口 {low} 至 {high}</translation>
    </message>
    <message>
        <source>the format is LOW-HIGH</source>
        <translation>格式应为 LOW-HIGH</translation>
    </message>
    <message>
        <source>the list of files does not match the data</source>
        <translation>文件清单与内容不符</translation>
    </message>
</context>
<context>
    <name>Files</name>
    <message>
        <source>File</source>
        <translation>文件</translation>
    </message>
    <message>
        <source>Size</source>
        <translation>大小</translation>
    </message>
    <message>
        <source>Outcome</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>Hash</source>
        <translation>哈希</translation>
    </message>
    <message>
        <source>link</source>
        <translation>链接</translation>
    </message>
    <message>
        <source>Not yet</source>
        <translation>尚未完成</translation>
    </message>
    <message>
        <source>Received</source>
        <translation>已接收</translation>
    </message>
    <message>
        <source>Sent</source>
        <translation>已发送</translation>
    </message>
    <message>
        <source>Identical</source>
        <translation>内容相同</translation>
    </message>
    <message>
        <source>Renamed</source>
        <translation>已改名</translation>
    </message>
    <message>
        <source>Overwritten</source>
        <translation>已覆盖</translation>
    </message>
    <message>
        <source>Failed</source>
        <translation>失败</translation>
    </message>
    <message>
        <source>Not known</source>
        <translation>未知</translation>
    </message>
    <message>
        <source>Kept as {name}</source>
        <translation>保存为 {name}</translation>
    </message>
    <message>
        <source>Identical to {name}</source>
        <translation>与 {name} 相同</translation>
    </message>
    <message>
        <source>Failed: {reason}</source>
        <translation>失败：{reason}</translation>
    </message>
    <message>
        <source>{outcome} ({nodes})</source>
        <translation>{outcome}（{nodes}）</translation>
    </message>
    <message>
        <source>{count} nodes</source>
        <translation>{count} 个节点</translation>
    </message>
    <message>
        <source>{count} sent</source>
        <translation>{count} 个已发送</translation>
    </message>
    <message>
        <source>{count} identical</source>
        <translation>{count} 个相同</translation>
    </message>
    <message>
        <source>{count} kept as (2)</source>
        <translation>{count} 个另存为 (2)</translation>
    </message>
    <message>
        <source>{count} overwritten</source>
        <translation>{count} 个已覆盖</translation>
    </message>
    <message>
        <source>{count} failed</source>
        <translation>{count} 个失败</translation>
    </message>
    <message>
        <source>, </source>
        <translation>、</translation>
    </message>
</context>
<context>
    <name>FilesView</name>
    <message>
        <source>Name, new name or hash</source>
        <translation>名称、新名称或哈希</translation>
    </message>
    <message>
        <source>Search the files</source>
        <translation>搜索文件</translation>
    </message>
    <message>
        <source>State</source>
        <translation>状态</translation>
    </message>
    <message>
        <source>Recipient</source>
        <translation>接收节点</translation>
    </message>
    <message>
        <source>Copy rows</source>
        <translation>复制所选行</translation>
    </message>
    <message>
        <source>Export…</source>
        <translation>导出…</translation>
    </message>
    <message>
        <source>All states</source>
        <translation>所有状态</translation>
    </message>
    <message>
        <source>All recipients</source>
        <translation>所有接收节点</translation>
    </message>
    <message>
        <source>{count} file</source>
        <translation>{count} 个文件</translation>
    </message>
    <message>
        <source>{count} files</source>
        <translation>{count} 个文件</translation>
    </message>
    <message>
        <source>{count} of {total} files</source>
        <translation>{count} 个文件，共 {total} 个</translation>
    </message>
    <message>
        <source>Loading the files…</source>
        <translation>正在加载文件列表…</translation>
    </message>
    <message>
        <source>Nothing found</source>
        <translation>没有找到</translation>
    </message>
    <message>
        <source>No files of this cast match.</source>
        <translation>此次传输中没有符合条件的文件。</translation>
    </message>
    <message>
        <source>Sort by outcome</source>
        <translation>按结果排序</translation>
    </message>
    <message>
        <source>As CSV, one line per file and recipient…</source>
        <translation>导出为 CSV，每个文件和接收节点一行…</translation>
    </message>
    <message>
        <source>The list of files was exported to {name}.</source>
        <translation>文件列表已导出到 {name}。</translation>
    </message>
    <message>
        <source>No files</source>
        <translation>没有文件</translation>
    </message>
    <message>
        <source>This cast has folders only.</source>
        <translation>此次传输只包含文件夹。</translation>
    </message>
    <message>
        <source>Copy path</source>
        <translation>复制路径</translation>
    </message>
    <message>
        <source>Copy hash</source>
        <translation>复制哈希</translation>
    </message>
    <message>
        <source>Sort by name</source>
        <translation>按名称排序</translation>
    </message>
    <message>
        <source>Sort by size</source>
        <translation>按大小排序</translation>
    </message>
    <message>
        <source>As JSON, files with their recipients…</source>
        <translation>导出为 JSON，包含文件及其接收节点…</translation>
    </message>
    <message>
        <source>Export the list of files</source>
        <translation>导出文件列表</translation>
    </message>
</context>
<context>
    <name>GraphCard</name>
    <message>
        <source>Next source</source>
        <translation>下次的源节点</translation>
    </message>
    <message>
        <source>{name} · source</source>
        <translation>{name} · 源节点</translation>
    </message>
    <message>
        <source>This computer</source>
        <translation>本机</translation>
    </message>
    <message>
        <source>Offline</source>
        <translation>离线</translation>
    </message>
    <message>
        <source>Offline {count} min</source>
        <translation>离线 {count} 分钟</translation>
    </message>
    <message>
        <source>Offline {count} h</source>
        <translation>离线 {count} 小时</translation>
    </message>
    <message>
        <source>Starting…</source>
        <translation>正在启动…</translation>
    </message>
    <message>
        <source>{size} behind</source>
        <translation>落后 {size}</translation>
    </message>
    <message>
        <source>{count} CPU</source>
        <translation>{count} CPU</translation>
    </message>
    <message>
        <source>{count} GPU</source>
        <translation>{count} GPU</translation>
    </message>
    <message>
        <source>Address: {address}</source>
        <translation>地址：{address}</translation>
    </message>
    <message>
        <source>Processors: {share} busy</source>
        <translation>处理器：占用 {share}</translation>
    </message>
    <message>
        <source>Memory: {free} of {total} free</source>
        <translation>内存：可用 {free}，共 {total}</translation>
    </message>
    <message>
        <source>Disk: {free} of {total} free</source>
        <translation>磁盘：可用 {free}，共 {total}</translation>
    </message>
    <message>
        <source>Inbox: {path}</source>
        <translation>收件箱：{path}</translation>
    </message>
    <message>
        <source>From {upstream} at {rate}</source>
        <translation>来自 {upstream}，{rate}</translation>
    </message>
    <message>
        <source>The route was repaired; it previously received from {upstream}</source>
        <translation>线路已修复：之前从 {upstream} 获取</translation>
    </message>
    <message>
        <source>Multicast</source>
        <translation>组播</translation>
    </message>
    <message>
        <source>{time} left</source>
        <translation>剩余 {time}</translation>
    </message>
    <message>
        <source>{size} verified on 1 node</source>
        <translation>{size} 已在 1 个节点上通过校验</translation>
    </message>
    <message>
        <source>{size} verified on {count} nodes</source>
        <translation>{size} 已在 {count} 个节点上通过校验</translation>
    </message>
    <message>
        <source>{done} of {total} each</source>
        <translation>每个节点 {done} / {total}</translation>
    </message>
    <message>
        <source>{done} of {total}</source>
        <translation>{done} / {total}</translation>
    </message>
    <message>
        <source>Nodes</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>All</source>
        <translation>全选</translation>
    </message>
    <message>
        <source>Select all nodes</source>
        <translation>选择所有节点</translation>
    </message>
    <message>
        <source>None</source>
        <translation>不选</translation>
    </message>
    <message>
        <source>Invert</source>
        <translation>反选</translation>
    </message>
    <message>
        <source>Invert the selection</source>
        <translation>反转选择</translation>
    </message>
    <message>
        <source>Zoom out</source>
        <translation>缩小</translation>
    </message>
    <message>
        <source>Zoom in</source>
        <translation>放大</translation>
    </message>
    <message>
        <source>Fit</source>
        <translation>适应窗口</translation>
    </message>
    <message>
        <source>Legend</source>
        <translation>图例</translation>
    </message>
    <message>
        <source>Send files here…</source>
        <translation>发送文件到此…</translation>
    </message>
    <message>
        <source>Use as source</source>
        <translation>设为源节点</translation>
    </message>
    <message>
        <source>Select no nodes</source>
        <translation>取消选择所有节点</translation>
    </message>
    <message>
        <source>Show all</source>
        <translation>显示全部</translation>
    </message>
    <message>
        <source>Details</source>
        <translation>详情</translation>
    </message>
    <message>
        <source>Copy address</source>
        <translation>复制地址</translation>
    </message>
    <message>
        <source>Copy inbox path</source>
        <translation>复制收件箱路径</translation>
    </message>
    <message>
        <source>Add node…</source>
        <translation>添加节点…</translation>
    </message>
    <message>
        <source>Remove node</source>
        <translation>移除节点</translation>
    </message>
    <message>
        <source>Open inbox</source>
        <translation>打开收件箱</translation>
    </message>
    <message>
        <source>Pause receiving</source>
        <translation>暂停接收</translation>
    </message>
    <message>
        <source>Resume receiving</source>
        <translation>继续接收</translation>
    </message>
    <message>
        <source>{chosen} of {total} selected</source>
        <translation>已选 {chosen}/{total}</translation>
    </message>
</context>
<context>
    <name>GraphScene</name>
    <message>
        <source>{zone} · {count} node</source>
        <translation>{zone} · {count} 个节点</translation>
    </message>
    <message>
        <source>{zone} · {count} nodes</source>
        <translation>{zone} · {count} 个节点</translation>
    </message>
</context>
<context>
    <name>GraphView</name>
    <message>
        <source>Nodes</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>The recipient list shows the same nodes and the same selection.</source>
        <translation>旁边的接收节点列表显示相同的节点和选择。</translation>
    </message>
    <message>
        <source>All nodes ({count})</source>
        <translation>所有节点（{count} 个）</translation>
    </message>
    <message>
        <source>Drop to send to {name}</source>
        <translation>松开即可发送到 {name}</translation>
    </message>
    <message>
        <source>Drop to send to {count} nodes</source>
        <translation>松开即可发送到 {count} 个节点</translation>
    </message>
</context>
<context>
    <name>GroupBar</name>
    <message>
        <source>Save the selected nodes as a group</source>
        <translation>将选中的节点保存为分组</translation>
    </message>
    <message>
        <source>Select the group {name}, {count} nodes</source>
        <translation>选择分组 {name}，{count} 个节点</translation>
    </message>
    <message>
        <source>Select only these</source>
        <translation>只选这些</translation>
    </message>
    <message>
        <source>Add these to the selection</source>
        <translation>同时选中这些</translation>
    </message>
    <message>
        <source>Update with the current selection</source>
        <translation>用当前选择更新此分组</translation>
    </message>
    <message>
        <source>Remove this group</source>
        <translation>删除此分组</translation>
    </message>
    <message>
        <source>Save a group</source>
        <translation>保存分组</translation>
    </message>
    <message>
        <source>Name of the group (@name on the command line):</source>
        <translation>分组名称（命令行中写作 @名称）：</translation>
    </message>
    <message>
        <source>Save</source>
        <translation>保存</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
</context>
<context>
    <name>Header</name>
    <message>
        <source>Settings</source>
        <translation>设置</translation>
    </message>
    <message>
        <source>Language</source>
        <translation>语言</translation>
    </message>
    <message>
        <source>↑ {rate} from here</source>
        <translation>↑ 本机上传 {rate}</translation>
    </message>
    <message>
        <source>Idle</source>
        <translation>空闲</translation>
    </message>
    <message>
        <source>Total limit: {limit}</source>
        <translation>总限速：{limit}</translation>
    </message>
    <message>
        <source>none</source>
        <translation>无</translation>
    </message>
    <message>
        <source>Same as the system</source>
        <translation>跟随系统</translation>
    </message>
    <message>
        <source>Light colours</source>
        <translation>浅色外观</translation>
    </message>
    <message>
        <source>Dark colours</source>
        <translation>深色外观</translation>
    </message>
</context>
<context>
    <name>History</name>
    <message>
        <source>Name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>Result</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>Size</source>
        <translation>大小</translation>
    </message>
    <message>
        <source>Recipients</source>
        <translation>接收节点</translation>
    </message>
    <message>
        <source>Source</source>
        <translation>源节点</translation>
    </message>
    <message>
        <source>Saved to</source>
        <translation>保存到</translation>
    </message>
    <message>
        <source>Duration</source>
        <translation>用时</translation>
    </message>
    <message>
        <source>Speed</source>
        <translation>速率</translation>
    </message>
    <message>
        <source>Ended</source>
        <translation>结束时间</translation>
    </message>
</context>
<context>
    <name>JoinHint</name>
    <message>
        <source>No other machine has joined yet. Run this on each machine that should join:</source>
        <translation>还没有其他机器加入。请在每台要加入的机器上运行：</translation>
    </message>
    <message>
        <source>Copy the command</source>
        <translation>复制命令</translation>
    </message>
</context>
<context>
    <name>Legend</name>
    <message>
        <source>Legend</source>
        <translation>图例</translation>
    </message>
</context>
<context>
    <name>LimitField</name>
    <message>
        <source>Speed limit</source>
        <translation>限速</translation>
    </message>
    <message>
        <source>Maximum speed on each hop of the relay, for this cast</source>
        <translation>本次传输中，接力链每一跳的最高速率</translation>
    </message>
    <message>
        <source>None</source>
        <translation>不限速</translation>
    </message>
    <message>
        <source>Other…</source>
        <translation>其他…</translation>
    </message>
    <message>
        <source>Maximum speed, for example 25MB/s or 200Mbit/s:</source>
        <translation>最高速率，例如 25MB/s 或 200Mbit/s：</translation>
    </message>
    <message>
        <source>Set</source>
        <translation>设定</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
</context>
<context>
    <name>LocalCard</name>
    <message>
        <source>Start a local cluster</source>
        <translation>启动本地集群</translation>
    </message>
    <message>
        <source>On this computer, in a few seconds</source>
        <translation>在本机启动，只需几秒</translation>
    </message>
    <message>
        <source>This computer and demo nodes on it, each with an inbox of its own</source>
        <translation>本机及其上的演示节点，各有自己的收件箱</translation>
    </message>
    <message>
        <source>Try every feature without any other setup</source>
        <translation>无需其他准备即可体验全部功能</translation>
    </message>
    <message>
        <source>Other machines can join; stops with the window</source>
        <translation>其他机器可以加入，随窗口关闭而停止</translation>
    </message>
    <message>
        <source>Listens on this computer only; stops with the window</source>
        <translation>只监听本机，随窗口关闭而停止</translation>
    </message>
    <message>
        <source>Let other machines join</source>
        <translation>允许其他机器加入</translation>
    </message>
    <message>
        <source>Demo nodes</source>
        <translation>演示节点</translation>
    </message>
    <message>
        <source>Fewer demo nodes</source>
        <translation>减少演示节点</translation>
    </message>
    <message>
        <source>More demo nodes</source>
        <translation>增加演示节点</translation>
    </message>
    <message>
        <source>Start local cluster</source>
        <translation>启动本地集群</translation>
    </message>
</context>
<context>
    <name>Log</name>
    <message>
        <source>Detail</source>
        <translation>细节</translation>
    </message>
    <message>
        <source>Info</source>
        <translation>信息</translation>
    </message>
    <message>
        <source>Warning</source>
        <translation>警告</translation>
    </message>
    <message>
        <source>Error</source>
        <translation>错误</translation>
    </message>
    <message>
        <source>Time</source>
        <translation>时间</translation>
    </message>
    <message>
        <source>Level</source>
        <translation>级别</translation>
    </message>
    <message>
        <source>From</source>
        <translation>来源</translation>
    </message>
    <message>
        <source>Message</source>
        <translation>内容</translation>
    </message>
</context>
<context>
    <name>LogPage</name>
    <message>
        <source>Log</source>
        <translation>日志</translation>
    </message>
    <message>
        <source>Level</source>
        <translation>级别</translation>
    </message>
    <message>
        <source>Copy lines</source>
        <translation>复制日志</translation>
    </message>
    <message>
        <source>Copy diagnostics</source>
        <translation>复制诊断信息</translation>
    </message>
    <message>
        <source>Search the log</source>
        <translation>搜索日志</translation>
    </message>
    <message>
        <source>Search text</source>
        <translation>搜索内容</translation>
    </message>
    <message>
        <source>Versions, cluster, nodes and the last lines, without tokens and keys</source>
        <translation>版本、集群、节点和最近的日志，不含令牌和密钥</translation>
    </message>
    <message>
        <source>Everything</source>
        <translation>全部</translation>
    </message>
    <message>
        <source>Warnings</source>
        <translation>警告</translation>
    </message>
    <message>
        <source>Errors</source>
        <translation>错误</translation>
    </message>
    <message>
        <source>{count} line</source>
        <translation>{count} 行</translation>
    </message>
    <message>
        <source>{count} lines</source>
        <translation>{count} 行</translation>
    </message>
    <message>
        <source>Nothing found</source>
        <translation>没有找到</translation>
    </message>
    <message>
        <source>No log lines match.</source>
        <translation>没有符合条件的日志。</translation>
    </message>
    <message>
        <source>Messages from the engine and the agents appear here.</source>
        <translation>引擎和各节点的报告会显示在这里。</translation>
    </message>
    <message>
        <source>Nothing logged yet</source>
        <translation>尚无日志</translation>
    </message>
</context>
<context>
    <name>MainWindow</name>
    <message>
        <source>Close the window</source>
        <translation>关闭窗口</translation>
    </message>
    <message>
        <source>Stop, and continue next time</source>
        <translation>停止，下次继续</translation>
    </message>
    <message>
        <source>Keep running in the tray</source>
        <translation>在托盘中继续运行</translation>
    </message>
    <message>
        <source>Keep running in the background</source>
        <translation>在后台继续运行</translation>
    </message>
    <message>
        <source>It can continue in the tray or at the next start.</source>
        <translation>可以在托盘中继续，也可以在下次启动时继续。</translation>
    </message>
    <message>
        <source>In the background, CastRay ends when everything has been sent and no other machine is in the cluster. Until then, start it again to show this window.</source>
        <translation>在后台运行时，CastRay 会在全部发送完成且集群中没有其他机器后退出。在此之前，再次启动即可显示此窗口。</translation>
    </message>
    <message>
        <source>If you close the window, CastRay keeps running to finish {kept}. After that, it stops {stopped} until the next start.</source>
        <translation>关闭窗口后，CastRay 会继续运行，直到 {kept} 传输结束。之后会停止 {stopped}，下次启动时再继续。</translation>
    </message>
    <message>
        <source>If you close the window, CastRay keeps running while another program uses it. After that, it stops {stopped} until the next start.</source>
        <translation>关闭窗口后，只要还有其他程序在使用，CastRay 就会继续运行。之后会停止 {stopped}，下次启动时再继续。</translation>
    </message>
    <message>
        <source>In the background, CastRay ends when everything has been sent. Until then, start it again to show this window.</source>
        <translation>在后台运行时，CastRay 会在全部发送完成后退出。在此之前，再次启动即可显示此窗口。</translation>
    </message>
    <message>
        <source>History</source>
        <translation>历史记录</translation>
    </message>
    <message>
        <source>Schedules</source>
        <translation>计划</translation>
    </message>
    <message>
        <source>Log</source>
        <translation>日志</translation>
    </message>
    <message>
        <source>Doctor</source>
        <translation>诊断</translation>
    </message>
    <message>
        <source>No file manager answered. The folder is {folder}.</source>
        <translation>没有文件管理器响应。文件夹位于 {folder}。</translation>
    </message>
    <message>
        <source>Copy path</source>
        <translation>复制路径</translation>
    </message>
</context>
<context>
    <name>Multicast</name>
    <message>
        <source>Multicast: {rate} to {count} listener</source>
        <translation>组播：{rate}，{count} 个节点收听</translation>
    </message>
    <message>
        <source>Multicast: {rate} to {count} at once</source>
        <translation>组播：{rate}，同时发往 {count} 个节点</translation>
    </message>
    <message>
        <source>Multicast: everything was sent once</source>
        <translation>组播：已全部发送一遍</translation>
    </message>
    <message>
        <source>No multicast: the source can&apos;t send it</source>
        <translation>组播不可用：源节点无法发送</translation>
    </message>
    <message>
        <source>No multicast: the cast ended first</source>
        <translation>未使用组播：传输已先结束</translation>
    </message>
    <message>
        <source>Waiting for listeners</source>
        <translation>等待节点收听</translation>
    </message>
    <message>
        <source>multicast to {count} of {total}</source>
        <translation>组播至 {count}/{total} 个节点</translation>
    </message>
    <message>
        <source>multicast to {count}</source>
        <translation>组播至 {count} 个节点</translation>
    </message>
    <message>
        <source>{share} by datagrams</source>
        <translation>{share} 由数据报送达</translation>
    </message>
    <message>
        <source>{share} repaired</source>
        <translation>补传 {share}</translation>
    </message>
    <message>
        <source>{node} by relay: can&apos;t keep up</source>
        <translation>{node} 改走接力链：跟不上</translation>
    </message>
    <message>
        <source>{node} by relay: receives no multicast</source>
        <translation>{node} 改走接力链：收不到组播</translation>
    </message>
    <message>
        <source>{count} by relay: can&apos;t keep up</source>
        <translation>{count} 个节点改走接力链：跟不上</translation>
    </message>
    <message>
        <source>{count} by relay: receive no multicast</source>
        <translation>{count} 个节点改走接力链：收不到组播</translation>
    </message>
    <message>
        <source>{count} by relay: {slow} can&apos;t keep up, {deaf} receive no multicast</source>
        <translation>{count} 个节点改走接力链：{slow} 个跟不上，{deaf} 个收不到组播</translation>
    </message>
    <message>
        <source>Multicast ended</source>
        <translation>组播已结束</translation>
    </message>
    <message>
        <source>No multicast: no data arrives</source>
        <translation>组播不可用：数据报无法送达</translation>
    </message>
    <message>
        <source>Multicast stopped: far too slow</source>
        <translation>组播已停止：速率过低</translation>
    </message>
    <message>
        <source>Multicast stopped: no listeners left</source>
        <translation>组播已停止：已无节点收听</translation>
    </message>
    <message>
        <source>No multicast: Ray encrypts here</source>
        <translation>组播不可用：此处 Ray 启用了加密</translation>
    </message>
    <message>
        <source>Multicast stopped: the source is gone</source>
        <translation>组播已停止：源节点已失联</translation>
    </message>
    <message>
        <source>by relay</source>
        <translation>经接力链接收</translation>
    </message>
    <message>
        <source>Served by the relay: it lost more than half of the datagrams. Check its link, load and disk.</source>
        <translation>已改走接力链：丢失了一半以上的数据报。请检查该节点的链路、负载和磁盘。</translation>
    </message>
    <message>
        <source>Served by the relay: it receives no datagrams. Check its firewall and the switches in front of it.</source>
        <translation>已改走接力链：收不到数据报。请检查该节点的防火墙及其上级交换机。</translation>
    </message>
    <message>
        <source>{rate} to {count} at once</source>
        <translation>{rate}，同时发往 {count} 个节点</translation>
    </message>
    <message>
        <source>Everything was sent once</source>
        <translation>已全部发送一遍</translation>
    </message>
    <message>
        <source>by multicast</source>
        <translation>经组播接收</translation>
    </message>
    <message>
        <source>being repaired</source>
        <translation>正在补传</translation>
    </message>
    <message>
        <source>Repair {rate}</source>
        <translation>补传 {rate}</translation>
    </message>
    <message>
        <source>By multicast from {source} at {rate}</source>
        <translation>来自 {source} 的组播，{rate}</translation>
    </message>
    <message>
        <source>Repaired by {upstream} at {rate}</source>
        <translation>由 {upstream} 补传，{rate}</translation>
    </message>
</context>
<context>
    <name>NodeDialogs</name>
    <message>
        <source>Add a node</source>
        <translation>添加节点</translation>
    </message>
    <message>
        <source>Name of the new node (it gets its own inbox):</source>
        <translation>新节点的名称（它会有自己的收件箱）：</translation>
    </message>
    <message>
        <source>Add</source>
        <translation>添加</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
</context>
<context>
    <name>NodeFacts</name>
    <message>
        <source>The route was repaired; it previously received from {upstream}</source>
        <translation>线路已修复：之前从 {upstream} 获取</translation>
    </message>
    <message>
        <source>From</source>
        <translation>来源</translation>
    </message>
    <message>
        <source>multicast at {rate}</source>
        <translation>组播，{rate}</translation>
    </message>
    <message>
        <source>Repair</source>
        <translation>补传来自</translation>
    </message>
    <message>
        <source>Transport</source>
        <translation>传输方式</translation>
    </message>
    <message>
        <source>Connection</source>
        <translation>连接</translation>
    </message>
    <message>
        <source>To</source>
        <translation>发送到</translation>
    </message>
    <message>
        <source>{count} at once at {rate}</source>
        <translation>同时 {count} 个节点，{rate}</translation>
    </message>
    <message>
        <source>Repairs</source>
        <translation>补传给</translation>
    </message>
    <message>
        <source>{node} at {rate}</source>
        <translation>{node}，{rate}</translation>
    </message>
    <message>
        <source>Cast</source>
        <translation>传输</translation>
    </message>
    <message>
        <source>none in progress</source>
        <translation>没有进行中的传输</translation>
    </message>
    <message>
        <source>speed unknown</source>
        <translation>速率未知</translation>
    </message>
    <message>
        <source>and {count} more</source>
        <translation>另有 {count} 项</translation>
    </message>
    <message>
        <source>Last seen</source>
        <translation>上次在线</translation>
    </message>
    <message>
        <source>Address</source>
        <translation>地址</translation>
    </message>
    <message>
        <source>Zone</source>
        <translation>区域</translation>
    </message>
    <message>
        <source>{count}, {share}% busy</source>
        <translation>{count}，占用 {share}%</translation>
    </message>
    <message>
        <source>Memory</source>
        <translation>内存</translation>
    </message>
    <message>
        <source>Disk</source>
        <translation>磁盘</translation>
    </message>
    <message>
        <source>Link</source>
        <translation>链路</translation>
    </message>
    <message>
        <source>Labels</source>
        <translation>标签</translation>
    </message>
    <message>
        <source>{free} of {total} free</source>
        <translation>可用 {free}，共 {total}</translation>
    </message>
</context>
<context>
    <name>Notifier</name>
    <message>
        <source>{name} arrived on {node}</source>
        <translation>{name} 已送达 {node}</translation>
    </message>
    <message>
        <source>{name} arrived on {count} nodes</source>
        <translation>{name} 已送达 {count} 个节点</translation>
    </message>
    <message>
        <source>The files had changed since the previous attempt. The current ones were sent.</source>
        <translation>文件自上次尝试后已更改。已发送当前的文件。</translation>
    </message>
    <message>
        <source>Every copy was verified by its hash.</source>
        <translation>每份副本均已通过哈希校验。</translation>
    </message>
    <message>
        <source>{counts}. {checked}</source>
        <translation>{counts}。{checked}</translation>
    </message>
    <message>
        <source>{count} of {total} nodes receive {name} when they are back online</source>
        <translation>{total} 个节点中有 {count} 个恢复在线后将收到 {name}</translation>
    </message>
    <message>
        <source>{name} did not arrive on {count} of {total} nodes</source>
        <translation>{name} 在 {total} 个节点中有 {count} 个未送达</translation>
    </message>
    <message>
        <source>{name} could not be sent</source>
        <translation>{name} 未能发送</translation>
    </message>
    <message>
        <source>Show in folder</source>
        <translation>在文件夹中显示</translation>
    </message>
</context>
<context>
    <name>Placement</name>
    <message>
        <source>the fastest node, which is measured when the cast starts</source>
        <translation>最快的节点，在传输开始时测定</translation>
    </message>
    <message>
        <source>fastest of the nodes that were measured with {host}</source>
        <translation>在测量与 {host} 之间速率的节点中最快</translation>
    </message>
    <message>
        <source>fastest of the nodes when {host} was last measured</source>
        <translation>上次测量与 {host} 之间的速率时最快</translation>
    </message>
    <message>
        <source>chosen by you</source>
        <translation>由你指定</translation>
    </message>
    <message>
        <source>nodes were not measured, because the download is small or its server sends only whole files</source>
        <translation>没有测定哪个节点最快：数据很少，或服务器只能发送整个文件</translation>
    </message>
    <message>
        <source>no other node that was tried can reach {host}</source>
        <translation>尝试过的其他节点都无法连接 {host}</translation>
    </message>
    <message>
        <source>only this computer can reach {host}</source>
        <translation>只有本机能连接 {host}</translation>
    </message>
    <message>
        <source>the node that downloaded before was lost</source>
        <translation>之前负责下载的节点已丢失</translation>
    </message>
    <message>
        <source>it downloaded the same files before</source>
        <translation>之前下载过相同的文件</translation>
    </message>
    <message>
        <source>it received the most in the previous attempt</source>
        <translation>上次尝试中接收得最多</translation>
    </message>
    <message>
        <source>not reached</source>
        <translation>无法连接</translation>
    </message>
</context>
<context>
    <name>PlotOverlay</name>
    <message>
        <source>Speeds appear here once a transfer starts</source>
        <translation>开始传输后，这里会显示速率</translation>
    </message>
    <message>
        <source>now</source>
        <translation>现在</translation>
    </message>
    <message>
        <source>{count} s</source>
        <translation>{count} 秒</translation>
    </message>
    <message>
        <source>{count} h</source>
        <translation>{count} 小时</translation>
    </message>
    <message>
        <source>{count} min</source>
        <translation>{count} 分钟</translation>
    </message>
    <message>
        <source>Total {rate} {unit}</source>
        <translation>合计 {rate} {unit}</translation>
    </message>
</context>
<context>
    <name>Preflight</name>
    <message>
        <source>and {count} more</source>
        <translation>另有 {count} 项</translation>
    </message>
    <message>
        <source>Before sending</source>
        <translation>发送前检查</translation>
    </message>
    <message>
        <source>Node</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>Problem</source>
        <translation>问题</translation>
    </message>
    <message>
        <source>To be removed</source>
        <translation>将被删除的内容</translation>
    </message>
    <message>
        <source>{count} of {total} nodes can&apos;t receive this.</source>
        <translation>{total} 个节点中有 {count} 个无法接收。</translation>
    </message>
    <message>
        <source>What to do</source>
        <translation>处理方法</translation>
    </message>
    <message>
        <source>Problems</source>
        <translation>问题列表</translation>
    </message>
    <message>
        <source>{count} entries that the source no longer has would be removed.</source>
        <translation>源节点已没有的 {count} 项将被删除。</translation>
    </message>
    <message>
        <source>Send to the other {count}</source>
        <translation>发送到其余 {count} 个节点</translation>
    </message>
    <message>
        <source>Send and remove</source>
        <translation>发送并删除</translation>
    </message>
</context>
<context>
    <name>RecipientList</name>
    <message>
        <source>Recipients</source>
        <translation>接收节点</translation>
    </message>
    <message>
        <source>Nothing found</source>
        <translation>没有找到</translation>
    </message>
    <message>
        <source>No node has this name, address or label.</source>
        <translation>没有节点的名称、地址或标签与之相符。</translation>
    </message>
    <message>
        <source>No nodes yet</source>
        <translation>还没有节点</translation>
    </message>
    <message>
        <source>The nodes of the cluster appear here for you to select.</source>
        <translation>集群的节点会列在这里，供你勾选。</translation>
    </message>
</context>
<context>
    <name>RecipientModel</name>
    <message>
        <source>Offline. If selected, it receives the files when it is back online.</source>
        <translation>离线。勾选后，恢复在线时会收到文件。</translation>
    </message>
    <message>
        <source>seen {ago}</source>
        <translation>{ago}在线</translation>
    </message>
    <message>
        <source>Offline</source>
        <translation>离线</translation>
    </message>
    <message>
        <source>Starting…</source>
        <translation>正在启动…</translation>
    </message>
    <message>
        <source>{size} free</source>
        <translation>可用 {size}</translation>
    </message>
    <message>
        <source>CPU {percent}%</source>
        <translation>CPU {percent}%</translation>
    </message>
</context>
<context>
    <name>RecipientPicker</name>
    <message>
        <source>Name, address or label</source>
        <translation>名称、地址或标签</translation>
    </message>
    <message>
        <source>Search recipients</source>
        <translation>搜索接收节点</translation>
    </message>
    <message>
        <source>All</source>
        <translation>全选</translation>
    </message>
    <message>
        <source>Select all nodes</source>
        <translation>选择所有节点</translation>
    </message>
    <message>
        <source>None</source>
        <translation>不选</translation>
    </message>
    <message>
        <source>Select no nodes</source>
        <translation>取消选择所有节点</translation>
    </message>
    <message>
        <source>Invert</source>
        <translation>反选</translation>
    </message>
    <message>
        <source>Invert the selection</source>
        <translation>反转选择</translation>
    </message>
    <message>
        <source>Sort the recipients</source>
        <translation>接收节点排序</translation>
    </message>
    <message>
        <source>Sort</source>
        <translation>排序</translation>
    </message>
    <message>
        <source>Recipients</source>
        <translation>接收节点</translation>
    </message>
    <message>
        <source>Name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>Space</source>
        <translation>空间</translation>
    </message>
    <message>
        <source>Most free space</source>
        <translation>可用空间从多到少</translation>
    </message>
    <message>
        <source>Load</source>
        <translation>负载</translation>
    </message>
    <message>
        <source>Least load</source>
        <translation>负载从低到高</translation>
    </message>
    <message>
        <source>{chosen} of {total}</source>
        <translation>{chosen}/{total}</translation>
    </message>
</context>
<context>
    <name>Relay</name>
    <message>
        <source>the link</source>
        <translation>链路</translation>
    </message>
    <message>
        <source>the speed limit</source>
        <translation>限速</translation>
    </message>
    <message>
        <source>the speed limit, shared with other casts</source>
        <translation>与其他传输共享的限速</translation>
    </message>
    <message>
        <source>the disk of {node}</source>
        <translation>{node} 的磁盘</translation>
    </message>
    <message>
        <source>the processor of {node}</source>
        <translation>{node} 的处理器</translation>
    </message>
    <message>
        <source>the disk of {upstream}</source>
        <translation>{upstream} 的磁盘</translation>
    </message>
    <message>
        <source>the processor of {upstream}</source>
        <translation>{upstream} 的处理器</translation>
    </message>
    <message>
        <source>Slowest: {upstream} → {node}, {rate}</source>
        <translation>最慢的一跳：{upstream} → {node}，{rate}</translation>
    </message>
    <message>
        <source>Limited by {cause}</source>
        <translation>瓶颈：{cause}</translation>
    </message>
    <message>
        <source>Limits the cast: {cause}</source>
        <translation>拖慢本次传输：{cause}</translation>
    </message>
    <message>
        <source>slowest {upstream} → {node}: {cause}</source>
        <translation>最慢 {upstream} → {node}：{cause}</translation>
    </message>
    <message>
        <source>slowest {upstream} → {node}</source>
        <translation>最慢：{upstream} → {node}</translation>
    </message>
    <message>
        <source>The slowest hop leads here</source>
        <translation>最慢的一跳通向此节点</translation>
    </message>
</context>
<context>
    <name>Schedules</name>
    <message>
        <source>New schedule</source>
        <translation>新建计划</translation>
    </message>
    <message>
        <source>Change the schedule</source>
        <translation>修改计划</translation>
    </message>
    <message>
        <source>Name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>Paths, one per line</source>
        <translation>路径，每行一个</translation>
    </message>
    <message>
        <source>To</source>
        <translation>发送到</translation>
    </message>
    <message>
        <source>When</source>
        <translation>何时</translation>
    </message>
    <message>
        <source>Add files</source>
        <translation>添加文件</translation>
    </message>
    <message>
        <source>Add folder</source>
        <translation>添加文件夹</translation>
    </message>
    <message>
        <source>Send</source>
        <translation>发送</translation>
    </message>
    <message>
        <source>Save</source>
        <translation>保存</translation>
    </message>
    <message>
        <source>How often</source>
        <translation>间隔</translation>
    </message>
    <message>
        <source>Unit</source>
        <translation>单位</translation>
    </message>
    <message>
        <source>Times in cron format</source>
        <translation>cron 格式的时间</translation>
    </message>
    <message>
        <source>At an interval</source>
        <translation>按间隔重复</translation>
    </message>
    <message>
        <source>At fixed times</source>
        <translation>在指定时间</translation>
    </message>
    <message>
        <source>When files change</source>
        <translation>文件变化时</translation>
    </message>
    <message>
        <source>all, comma-separated names, or @group</source>
        <translation>all、逗号分隔的节点名称或 @分组</translation>
    </message>
    <message>
        <source>Each line must be a full path, such as /data/models</source>
        <translation>每行都需要完整路径，例如 /data/models</translation>
    </message>
    <message>
        <source>Enter the recipients: all, names, or @group</source>
        <translation>请填写接收节点：all、节点名称或 @分组</translation>
    </message>
    <message>
        <source>Enter the times, for example 0 2 * * * for 2 a.m.</source>
        <translation>请填写时间，例如 0 2 * * * 表示凌晨两点</translation>
    </message>
    <message>
        <source>Seconds without a change</source>
        <translation>无变化的秒数</translation>
    </message>
    <message>
        <source>minute hour day month weekday</source>
        <translation>分 时 日 月 星期</translation>
    </message>
    <message>
        <source>seconds without a change</source>
        <translation>秒内无变化后发送</translation>
    </message>
    <message>
        <source>seconds</source>
        <translation>秒</translation>
    </message>
    <message>
        <source>minutes</source>
        <translation>分钟</translation>
    </message>
    <message>
        <source>hours</source>
        <translation>小时</translation>
    </message>
    <message>
        <source>days</source>
        <translation>天</translation>
    </message>
    <message>
        <source>Add what to send first</source>
        <translation>请先添加要发送的内容</translation>
    </message>
    <message>
        <source>{count} d</source>
        <translation>{count} 天</translation>
    </message>
    <message>
        <source>{count} h</source>
        <translation>{count} 小时</translation>
    </message>
    <message>
        <source>{count} min</source>
        <translation>{count} 分钟</translation>
    </message>
    <message>
        <source>{count} s</source>
        <translation>{count} 秒</translation>
    </message>
    <message>
        <source>Every {span}</source>
        <translation>每 {span}</translation>
    </message>
    <message>
        <source>At {times}</source>
        <translation>按 {times}</translation>
    </message>
    <message>
        <source>A small test file</source>
        <translation>一个小测试文件</translation>
    </message>
    <message>
        <source>Disabled</source>
        <translation>已停用</translation>
    </message>
    <message>
        <source>{count} changes pending</source>
        <translation>{count} 处变化待发送</translation>
    </message>
    <message>
        <source>Checks every {span}</source>
        <translation>每 {span} 检查一次</translation>
    </message>
    <message>
        <source>{name} and {count} more</source>
        <translation>{name} 及另外 {count} 项</translation>
    </message>
    <message>
        <source>{span} after the last change</source>
        <translation>最后一次变化 {span} 后</translation>
    </message>
    <message>
        <source>All nodes</source>
        <translation>所有节点</translation>
    </message>
    <message>
        <source>Running</source>
        <translation>正在运行</translation>
    </message>
    <message>
        <source>Nothing new</source>
        <translation>没有变化</translation>
    </message>
</context>
<context>
    <name>SchedulesPage</name>
    <message>
        <source>Name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>Sends</source>
        <translation>发送内容</translation>
    </message>
    <message>
        <source>To</source>
        <translation>发送到</translation>
    </message>
    <message>
        <source>When</source>
        <translation>何时</translation>
    </message>
    <message>
        <source>Next</source>
        <translation>下次运行</translation>
    </message>
    <message>
        <source>Last run</source>
        <translation>上次运行</translation>
    </message>
    <message>
        <source>Last result</source>
        <translation>上次结果</translation>
    </message>
    <message>
        <source>Schedules</source>
        <translation>计划</translation>
    </message>
    <message>
        <source>Add…</source>
        <translation>新建…</translation>
    </message>
    <message>
        <source>Change…</source>
        <translation>修改…</translation>
    </message>
    <message>
        <source>Run now</source>
        <translation>立即运行</translation>
    </message>
    <message>
        <source>Remove…</source>
        <translation>删除…</translation>
    </message>
    <message>
        <source>Sends a small file to every node of the local cluster once a minute</source>
        <translation>每分钟向本地集群的所有节点发送一个小文件</translation>
    </message>
    <message>
        <source>Disable</source>
        <translation>停用</translation>
    </message>
    <message>
        <source>Enable</source>
        <translation>启用</translation>
    </message>
    <message>
        <source>A schedule sends automatically: at an interval, at fixed times, or when a folder changes.</source>
        <translation>计划会自动发送：按间隔重复、在指定时间，或在文件夹变化时。</translation>
    </message>
    <message>
        <source>Files that it has sent are not affected.</source>
        <translation>已发送的内容不受影响。</translation>
    </message>
    <message>
        <source>Stop the demonstration</source>
        <translation>停止演示</translation>
    </message>
    <message>
        <source>Start a demonstration</source>
        <translation>开始演示</translation>
    </message>
    <message>
        <source>No schedules yet</source>
        <translation>尚无计划</translation>
    </message>
    <message>
        <source>Remove the schedule {name}?</source>
        <translation>要删除计划 {name} 吗？</translation>
    </message>
    <message>
        <source>Remove</source>
        <translation>删除</translation>
    </message>
</context>
<context>
    <name>SendList</name>
    <message>
        <source>{count} file</source>
        <translation>{count} 个文件</translation>
    </message>
    <message>
        <source>{count} files</source>
        <translation>{count} 个文件</translation>
    </message>
</context>
<context>
    <name>SendListView</name>
    <message>
        <source>What will be sent</source>
        <translation>待发送的内容</translation>
    </message>
</context>
<context>
    <name>SendOptions</name>
    <message>
        <source>More options</source>
        <translation>更多选项</translation>
    </message>
    <message>
        <source>Files are removed only with Overwrite, and are listed before anything is sent. The command runs on each recipient that allows it, after its files are verified.</source>
        <translation>仅在选择“覆盖”时才会删除，并会在发送前列出。文件通过校验后，命令会在允许执行的接收节点上运行。</translation>
    </message>
    <message>
        <source>Default</source>
        <translation>恢复默认</translation>
    </message>
    <message>
        <source>Comma-separated patterns, such as *.tmp, .git</source>
        <translation>逗号分隔的模式，例如 *.tmp, .git</translation>
    </message>
    <message>
        <source>Send files instead of links that point outside</source>
        <translation>指向外部的链接改为发送文件</translation>
    </message>
    <message>
        <source>Direct connections only</source>
        <translation>仅直连</translation>
    </message>
    <message>
        <source>Through Ray only</source>
        <translation>仅经由 Ray</translation>
    </message>
    <message>
        <source>Automatic: where both machines support it, unless the settings say otherwise. Always: nothing is sent to a machine that doesn&apos;t support it.</source>
        <translation>自动：只要两台机器都能加密就加密，除非设置另有规定。始终：不向无法加密的机器发送任何内容。</translation>
    </message>
    <message>
        <source>Multicast can&apos;t be encrypted: anyone on the network can read what is sent.</source>
        <translation>组播无法加密：网络中的任何人都能读取发送的内容。</translation>
    </message>
    <message>
        <source>Anyone on the network can read what is sent.</source>
        <translation>网络中的任何人都能读取发送的内容。</translation>
    </message>
    <message>
        <source>Exclude</source>
        <translation>排除</translation>
    </message>
    <message>
        <source>Send only</source>
        <translation>只发送</translation>
    </message>
    <message>
        <source>Symbolic links</source>
        <translation>符号链接</translation>
    </message>
    <message>
        <source>Transport</source>
        <translation>传输方式</translation>
    </message>
    <message>
        <source>Encryption</source>
        <translation>加密</translation>
    </message>
    <message>
        <source>Hugging Face</source>
        <translation>Hugging Face</translation>
    </message>
    <message>
        <source>Command after delivery</source>
        <translation>完成后的命令</translation>
    </message>
    <message>
        <source>Remove files on the recipients that a sent folder no longer has</source>
        <translation>删除接收节点上源文件夹已没有的内容</translation>
    </message>
    <message>
        <source>Send as links</source>
        <translation>作为链接发送</translation>
    </message>
    <message>
        <source>Send what they point to</source>
        <translation>发送链接指向的内容</translation>
    </message>
    <message>
        <source>Multicast: one stream for all</source>
        <translation>组播：一份数据流发给所有节点</translation>
    </message>
    <message>
        <source>Always</source>
        <translation>始终</translation>
    </message>
    <message>
        <source>Never</source>
        <translation>从不</translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation>自动</translation>
    </message>
    <message>
        <source>As a folder with its files</source>
        <translation>存为包含其文件的文件夹</translation>
    </message>
    <message>
        <source>As the cache of huggingface_hub</source>
        <translation>存为 huggingface_hub 的缓存</translation>
    </message>
    <message>
        <source>For addresses that begin with hf://. A cache can be opened offline, where the folder that it is saved to is the HF_HUB_CACHE of a program.</source>
        <translation>用于以 hf:// 开头的地址。如果保存到的文件夹是程序的 HF_HUB_CACHE，缓存可以离线打开。</translation>
    </message>
    <message>
        <source>Multicast can&apos;t be encrypted. Choose another transport.</source>
        <translation>组播无法加密。请选择其他传输方式。</translation>
    </message>
</context>
<context>
    <name>SendPanel</name>
    <message>
        <source>Leave empty for the inbox of each node, or enter a folder such as /data/models/{node}; {node} is replaced by the node&apos;s name.</source>
        <translation>留空则保存到各节点的收件箱。也可以填写节点上的文件夹，例如 /data/models/{node}，其中 {node} 代表节点名称。</translation>
    </message>
    <message>
        <source>Save to</source>
        <translation>保存到</translation>
    </message>
    <message>
        <source>If a file exists</source>
        <translation>文件已存在时</translation>
    </message>
    <message>
        <source>Clear</source>
        <translation>清空</translation>
    </message>
    <message>
        <source>Add files or a folder</source>
        <translation>添加文件或文件夹</translation>
    </message>
    <message>
        <source>Inbox of each node</source>
        <translation>各节点的收件箱</translation>
    </message>
    <message>
        <source>Send</source>
        <translation>发送</translation>
    </message>
    <message>
        <source>Speed limit</source>
        <translation>限速</translation>
    </message>
    <message>
        <source>{problem} (and {count} more)</source>
        <translation>{problem}（另有 {count} 个问题）</translation>
    </message>
    <message>
        <source>Send to the other {count}</source>
        <translation>发送到其余 {count} 个节点</translation>
    </message>
    <message>
        <source>Add files</source>
        <translation>添加文件</translation>
    </message>
    <message>
        <source>Add a folder</source>
        <translation>添加文件夹</translation>
    </message>
    <message>
        <source>Address (https://…, hf://…, s3://…, gs://…, az://…):</source>
        <translation>地址（https://…、hf://…、s3://…、gs://…、az://…）：</translation>
    </message>
    <message>
        <source>{text} is not an address that can be sent (https://…, hf://…, s3://…, gs://…, az://…).</source>
        <translation>{text} 不是可以发送的地址（https://…、hf://…、s3://…、gs://…、az://…）。</translation>
    </message>
    <message>
        <source>Send to {count} node</source>
        <translation>发送到 {count} 个节点</translation>
    </message>
    <message>
        <source>Send to {count} nodes</source>
        <translation>发送到 {count} 个节点</translation>
    </message>
    <message>
        <source>Add what to send first</source>
        <translation>请先添加要发送的内容</translation>
    </message>
    <message>
        <source>Options · {count}</source>
        <translation>选项 · {count}</translation>
    </message>
    <message>
        <source>Send anyway</source>
        <translation>仍然发送</translation>
    </message>
    <message>
        <source>Add from URL</source>
        <translation>从网址添加</translation>
    </message>
    <message>
        <source>Add</source>
        <translation>添加</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Options</source>
        <translation>选项</translation>
    </message>
    <message>
        <source>Keep for {count} node</source>
        <translation>为 {count} 个节点保留</translation>
    </message>
    <message>
        <source>Keep for {count} nodes</source>
        <translation>为 {count} 个节点保留</translation>
    </message>
    <message>
        <source>{name} can&apos;t be sent; remove it</source>
        <translation>{name} 无法发送，请将其移除</translation>
    </message>
    <message>
        <source>Choose at least one recipient</source>
        <translation>请至少选择一个接收节点</translation>
    </message>
    <message>
        <source>Files wait here until the nodes are ready</source>
        <translation>文件会在此等待，直到节点就绪</translation>
    </message>
    <message>
        <source>Files wait here until you are connected</source>
        <translation>文件会在此等待，直到连接集群</translation>
    </message>
    <message>
        <source>Checking the recipients…</source>
        <translation>正在检查接收节点…</translation>
    </message>
    <message>
        <source>{reason} · {node}</source>
        <translation>{reason} · {node}</translation>
    </message>
    <message>
        <source>A link would be broken on the recipients: {name}</source>
        <translation>有一个链接在接收节点上将失效：{name}</translation>
    </message>
    <message>
        <source>{count} links would be broken on the recipients, such as {name}</source>
        <translation>有 {count} 个链接在接收节点上将失效，例如 {name}</translation>
    </message>
    <message>
        <source>Their targets don&apos;t exist or are not sent.</source>
        <translation>它们指向的内容不存在，或不会被发送。</translation>
    </message>
    <message>
        <source>Removes {count} entries on the recipients</source>
        <translation>将删除接收节点上的 {count} 项</translation>
    </message>
    <message>
        <source>{count} receive it when they are back online</source>
        <translation>{count} 个节点恢复在线后会收到</translation>
    </message>
    <message>
        <source>Fits on all {count}</source>
        <translation>{count} 个节点空间均充足</translation>
    </message>
    <message>
        <source>Server busy · the cast waits for it</source>
        <translation>服务器繁忙 · 传输会等待</translation>
    </message>
    <message>
        <source>Fits</source>
        <translation>空间充足</translation>
    </message>
    <message>
        <source>uploaded once, {size}</source>
        <translation>只上传一次，共 {size}</translation>
    </message>
</context>
<context>
    <name>Settings</name>
    <message>
        <source>General</source>
        <translation>常规</translation>
    </message>
    <message>
        <source>Transfers</source>
        <translation>传输</translation>
    </message>
    <message>
        <source>Network</source>
        <translation>网络</translation>
    </message>
    <message>
        <source>Notifications</source>
        <translation>通知</translation>
    </message>
    <message>
        <source>Appearance</source>
        <translation>外观</translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation>高级</translation>
    </message>
    <message>
        <source>Settings</source>
        <translation>设置</translation>
    </message>
    <message>
        <source>Changes take effect immediately.</source>
        <translation>更改立即生效。</translation>
    </message>
    <message>
        <source>At startup</source>
        <translation>启动时</translation>
    </message>
    <message>
        <source>Use the last cluster</source>
        <translation>使用上次的集群</translation>
    </message>
    <message>
        <source>Stop, and continue next time</source>
        <translation>停止，下次继续</translation>
    </message>
    <message>
        <source>Simultaneous casts</source>
        <translation>同时传输数</translation>
    </message>
    <message>
        <source>Keep history</source>
        <translation>历史保留</translation>
    </message>
    <message>
        <source>No limit</source>
        <translation>不限速</translation>
    </message>
    <message>
        <source>Forever</source>
        <translation>永久</translation>
    </message>
    <message>
        <source>Continue unfinished casts after a restart</source>
        <translation>重新启动后继续未结束的传输</translation>
    </message>
    <message>
        <source>Keep this computer awake while casts are running</source>
        <translation>传输进行时不让本机休眠</translation>
    </message>
    <message>
        <source>Upload limit of each node</source>
        <translation>每个节点的转发上限</translation>
    </message>
    <message>
        <source>Where both support it</source>
        <translation>只要双方都能加密</translation>
    </message>
    <message>
        <source>For casts set to Automatic. Multicast can&apos;t be encrypted.</source>
        <translation>适用于保持“自动”的传输。组播无法加密。</translation>
    </message>
    <message>
        <source>Ports, networks and TLS are set in the environment of the engine: CASTRAY_DATA_PORTS, CASTRAY_DATA_NETWORK and RAY_USE_TLS; see the user guide.</source>
        <translation>端口、网络和 TLS 在启动引擎的环境中设置：CASTRAY_DATA_PORTS、CASTRAY_DATA_NETWORK 和 RAY_USE_TLS，参见用户指南。</translation>
    </message>
    <message>
        <source>Also on the desktop while the window is in the background</source>
        <translation>窗口不在前台时也在桌面上通知</translation>
    </message>
    <message>
        <source>Reduce motion</source>
        <translation>减少动态效果</translation>
    </message>
    <message>
        <source>Reset columns</source>
        <translation>恢复默认列</translation>
    </message>
    <message>
        <source>Keep the engine and its cluster running after the window is closed</source>
        <translation>关闭窗口后保留引擎和集群</translation>
    </message>
    <message>
        <source>Settings, logs and records</source>
        <translation>设置、日志和记录</translation>
    </message>
    <message>
        <source>Language</source>
        <translation>语言</translation>
    </message>
    <message>
        <source>Closing while casts run</source>
        <translation>有传输时关闭窗口</translation>
    </message>
    <message>
        <source>Demo nodes</source>
        <translation>演示节点</translation>
    </message>
    <message>
        <source>Encryption between machines</source>
        <translation>机器之间的加密</translation>
    </message>
    <message>
        <source>When a cast has arrived</source>
        <translation>传输送达时</translation>
    </message>
    <message>
        <source>When a cast has failed</source>
        <translation>传输失败时</translation>
    </message>
    <message>
        <source>Colours</source>
        <translation>配色</translation>
    </message>
    <message>
        <source>Contrast</source>
        <translation>对比度</translation>
    </message>
    <message>
        <source>Open the home folder</source>
        <translation>打开数据文件夹</translation>
    </message>
    <message>
        <source>Start a local cluster</source>
        <translation>启动本地集群</translation>
    </message>
    <message>
        <source>Ask</source>
        <translation>询问</translation>
    </message>
    <message>
        <source>In addition to this computer, from the next start of a local cluster.</source>
        <translation>本机之外的节点数，下次启动本地集群时生效。</translation>
    </message>
    <message>
        <source>Keep running in the tray</source>
        <translation>在托盘中继续运行</translation>
    </message>
    <message>
        <source>Light</source>
        <translation>浅色</translation>
    </message>
    <message>
        <source>Dark</source>
        <translation>深色</translation>
    </message>
    <message>
        <source>Normal</source>
        <translation>标准</translation>
    </message>
    <message>
        <source>High</source>
        <translation>高</translation>
    </message>
    <message>
        <source> days</source>
        <translation> 天</translation>
    </message>
</context>
<context>
    <name>Share</name>
    <message>
        <source>Let other machines join</source>
        <translation>允许其他机器加入</translation>
    </message>
    <message>
        <source>Run this on each machine that should join. It requires CastRay or Ray, and a network connection to this computer.</source>
        <translation>请在每台要加入的机器上运行此命令。该机器需要装有 CastRay 或 Ray，并能通过网络访问本机。</translation>
    </message>
    <message>
        <source>Anyone with this command can run code in this cluster. Keep it secret.</source>
        <translation>持有此命令的人可以在集群中运行代码，请妥善保密。</translation>
    </message>
    <message>
        <source>Command to join</source>
        <translation>加入命令</translation>
    </message>
    <message>
        <source>Copy the command</source>
        <translation>复制命令</translation>
    </message>
    <message>
        <source>Connections are encrypted with Ray&apos;s certificates (RAY_USE_TLS=1).</source>
        <translation>连接使用 Ray 的证书加密（RAY_USE_TLS=1）。</translation>
    </message>
    <message>
        <source>Ray&apos;s connections are not encrypted: the token and the secret of each cast cross the network unencrypted. Share only on a network that you trust, or set RAY_USE_TLS=1.</source>
        <translation>Ray 的连接未加密：令牌和每次传输的密钥会以明文经过网络。请只在你信任的网络中共享，或设置 RAY_USE_TLS=1。</translation>
    </message>
</context>
<context>
    <name>Sheet</name>
    <message>
        <source>Close</source>
        <translation>关闭</translation>
    </message>
</context>
<context>
    <name>SideCard</name>
    <message>
        <source>Close details</source>
        <translation>关闭节点信息</translation>
    </message>
    <message>
        <source>Details of {name}</source>
        <translation>{name} 的信息</translation>
    </message>
</context>
<context>
    <name>SourceField</name>
    <message>
        <source>From</source>
        <translation>来源</translation>
    </message>
    <message>
        <source>This computer ({name})</source>
        <translation>本机（{name}）</translation>
    </message>
    <message>
        <source>This computer</source>
        <translation>本机</translation>
    </message>
</context>
<context>
    <name>Sparkline</name>
    <message>
        <source>Recent total speed</source>
        <translation>最近的总速率</translation>
    </message>
</context>
<context>
    <name>StartProgress</name>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
</context>
<context>
    <name>State</name>
    <message>
        <source>Online</source>
        <translation>在线</translation>
    </message>
    <message>
        <source>Selected</source>
        <translation>已选择</translation>
    </message>
    <message>
        <source>Receiving</source>
        <translation>正在接收</translation>
    </message>
    <message>
        <source>Checking hash</source>
        <translation>正在校验</translation>
    </message>
    <message>
        <source>Verified</source>
        <translation>已校验</translation>
    </message>
    <message>
        <source>Lagging</source>
        <translation>落后</translation>
    </message>
    <message>
        <source>Failed</source>
        <translation>失败</translation>
    </message>
    <message>
        <source>Offline</source>
        <translation>离线</translation>
    </message>
    <message>
        <source>Waiting</source>
        <translation>等待中</translation>
    </message>
    <message>
        <source>Paused</source>
        <translation>已暂停</translation>
    </message>
    <message>
        <source>Cancelled</source>
        <translation>已取消</translation>
    </message>
</context>
<context>
    <name>Statistics</name>
    <message>
        <source>Casts</source>
        <translation>传输次数</translation>
    </message>
    <message>
        <source>Delivered completely</source>
        <translation>全部送达</translation>
    </message>
    <message>
        <source>Partly failed</source>
        <translation>部分失败</translation>
    </message>
    <message>
        <source>Failed</source>
        <translation>失败</translation>
    </message>
    <message>
        <source>Cancelled</source>
        <translation>已取消</translation>
    </message>
    <message>
        <source>Deliveries</source>
        <translation>送达</translation>
    </message>
    <message>
        <source>Failed deliveries</source>
        <translation>未送达</translation>
    </message>
    <message>
        <source>Delivered bytes</source>
        <translation>送达数据量</translation>
    </message>
    <message>
        <source>Uploaded bytes</source>
        <translation>上传数据量</translation>
    </message>
    <message>
        <source>Time of all casts</source>
        <translation>传输总用时</translation>
    </message>
    <message>
        <source>Mean speed</source>
        <translation>平均速率</translation>
    </message>
    <message>
        <source>Peak speed</source>
        <translation>最高速率</translation>
    </message>
    <message>
        <source>Node</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>Bytes</source>
        <translation>数据量</translation>
    </message>
    <message>
        <source>Statistics of the nodes</source>
        <translation>各节点统计</translation>
    </message>
    <message>
        <source>No deliveries yet</source>
        <translation>尚无送达记录</translation>
    </message>
    <message>
        <source>Totals for each node appear here.</source>
        <translation>这里汇总每个节点收到的数据。</translation>
    </message>
    <message>
        <source>All time</source>
        <translation>全部</translation>
    </message>
    <message>
        <source>Since the engine started</source>
        <translation>引擎启动以来</translation>
    </message>
</context>
<context>
    <name>StatusBar</name>
    <message>
        <source>Ray {version}</source>
        <translation>Ray {version}</translation>
    </message>
    <message>
        <source>Python {version}</source>
        <translation>Python {version}</translation>
    </message>
    <message>
        <source>Starting the engine…</source>
        <translation>正在启动引擎…</translation>
    </message>
    <message>
        <source>Engine lost, reconnecting…</source>
        <translation>引擎已断开，正在重新连接…</translation>
    </message>
    <message>
        <source>Cluster lost, reconnecting…</source>
        <translation>集群已断开，正在重新连接…</translation>
    </message>
    <message>
        <source>Not connected</source>
        <translation>未连接</translation>
    </message>
    <message>
        <source>No cluster</source>
        <translation>未连接集群</translation>
    </message>
    <message>
        <source>the last attempt failed</source>
        <translation>上次尝试失败</translation>
    </message>
    <message>
        <source>Ready</source>
        <translation>就绪</translation>
    </message>
    <message>
        <source>{count} recipient</source>
        <translation>{count} 个接收节点</translation>
    </message>
    <message>
        <source>{count} recipients</source>
        <translation>{count} 个接收节点</translation>
    </message>
    <message>
        <source>{rate} each</source>
        <translation>每个节点 {rate}</translation>
    </message>
    <message>
        <source> ({count} lagging)</source>
        <translation>（{count} 个落后）</translation>
    </message>
    <message>
        <source>source upload {copies} copies</source>
        <translation>源节点上传 {copies} 份</translation>
    </message>
    <message>
        <source>{count} error</source>
        <translation>{count} 个错误</translation>
    </message>
    <message>
        <source>{count} errors</source>
        <translation>{count} 个错误</translation>
    </message>
</context>
<context>
    <name>ThroughputPlot</name>
    <message>
        <source>Throughput</source>
        <translation>吞吐量</translation>
    </message>
    <message>
        <source>Pause drawing</source>
        <translation>暂停绘制</translation>
    </message>
    <message>
        <source>Resume drawing</source>
        <translation>继续绘制</translation>
    </message>
    <message>
        <source>Save or change the plot</source>
        <translation>保存或更改图表</translation>
    </message>
    <message>
        <source>{count} h</source>
        <translation>{count} 小时</translation>
    </message>
    <message>
        <source>1 min</source>
        <translation>1 分钟</translation>
    </message>
    <message>
        <source>The last minute</source>
        <translation>最近 1 分钟</translation>
    </message>
    <message>
        <source>The last 5 minutes</source>
        <translation>最近 5 分钟</translation>
    </message>
    <message>
        <source>The last 30 minutes</source>
        <translation>最近 30 分钟</translation>
    </message>
    <message>
        <source>The last hours</source>
        <translation>最近几小时</translation>
    </message>
    <message>
        <source>Total</source>
        <translation>总计</translation>
    </message>
    <message>
        <source>Slowest to fastest node</source>
        <translation>最慢到最快节点的范围</translation>
    </message>
    <message>
        <source>The last {count} hours</source>
        <translation>最近 {count} 小时</translation>
    </message>
    <message>
        <source>Save as a picture (PNG)…</source>
        <translation>保存为图片（PNG）…</translation>
    </message>
    <message>
        <source>Save the numbers (CSV)…</source>
        <translation>保存数据（CSV）…</translation>
    </message>
    <message>
        <source>Bytes per second</source>
        <translation>字节每秒</translation>
    </message>
    <message>
        <source>Bits per second</source>
        <translation>比特每秒</translation>
    </message>
    <message>
        <source>Save the throughput</source>
        <translation>保存吞吐量</translation>
    </message>
</context>
<context>
    <name>TransferHeader</name>
    <message>
        <source>Reset columns</source>
        <translation>恢复默认列</translation>
    </message>
</context>
<context>
    <name>TransferModel</name>
    <message>
        <source>Name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>Size</source>
        <translation>大小</translation>
    </message>
    <message>
        <source>Progress</source>
        <translation>进度</translation>
    </message>
    <message>
        <source>Status</source>
        <translation>状态</translation>
    </message>
    <message>
        <source>Speed</source>
        <translation>速率</translation>
    </message>
    <message>
        <source>ETA</source>
        <translation>剩余</translation>
    </message>
    <message>
        <source>Recipients</source>
        <translation>接收节点</translation>
    </message>
    <message>
        <source>Started</source>
        <translation>开始</translation>
    </message>
    <message>
        <source>Direction</source>
        <translation>方向</translation>
    </message>
    <message>
        <source>Elapsed</source>
        <translation>已用时间</translation>
    </message>
    <message>
        <source>Saved to</source>
        <translation>保存到</translation>
    </message>
    <message>
        <source>Hash</source>
        <translation>哈希</translation>
    </message>
</context>
<context>
    <name>TransferTable</name>
    <message>
        <source>Transfers</source>
        <translation>传输</translation>
    </message>
    <message>
        <source>Nothing found</source>
        <translation>没有找到</translation>
    </message>
    <message>
        <source>No transfers match by name, node or state.</source>
        <translation>没有名称、节点或状态包含这些字词的传输。</translation>
    </message>
    <message>
        <source>Drop files, select recipients and press Send. Progress, speed and hashes of every node appear here.</source>
        <translation>拖入文件，勾选接收节点，然后点击发送。各节点的进度、速率和哈希会显示在这里。</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Copy name</source>
        <translation>复制名称</translation>
    </message>
    <message>
        <source>Remove {node} from the cast</source>
        <translation>将 {node} 移出本次传输</translation>
    </message>
    <message>
        <source>Copy path</source>
        <translation>复制路径</translation>
    </message>
    <message>
        <source>Copy hash</source>
        <translation>复制哈希</translation>
    </message>
    <message>
        <source>Pause {node}</source>
        <translation>暂停接收节点 {node}</translation>
    </message>
    <message>
        <source>Resume {node}</source>
        <translation>继续接收节点 {node}</translation>
    </message>
    <message>
        <source>Send to {node} again</source>
        <translation>重新发送到 {node}</translation>
    </message>
    <message>
        <source>Copy node</source>
        <translation>复制节点名称</translation>
    </message>
    <message>
        <source>Pause</source>
        <translation>暂停</translation>
    </message>
    <message>
        <source>Resume</source>
        <translation>继续</translation>
    </message>
    <message>
        <source>Earlier in the queue</source>
        <translation>在队列中前移</translation>
    </message>
    <message>
        <source>Later in the queue</source>
        <translation>在队列中后移</translation>
    </message>
    <message>
        <source>Add {node} as a recipient</source>
        <translation>将 {node} 加为接收节点</translation>
    </message>
    <message>
        <source>Add the {count} selected nodes</source>
        <translation>加入选中的 {count} 个节点</translation>
    </message>
    <message>
        <source>Speed limit</source>
        <translation>限速</translation>
    </message>
    <message>
        <source>No limit</source>
        <translation>不限速</translation>
    </message>
    <message>
        <source>Other…</source>
        <translation>其他…</translation>
    </message>
    <message>
        <source>Retry failed</source>
        <translation>重试失败项</translation>
    </message>
    <message>
        <source>Send again</source>
        <translation>再次发送</translation>
    </message>
    <message>
        <source>Verify again…</source>
        <translation>重新校验…</translation>
    </message>
    <message>
        <source>Details…</source>
        <translation>详情…</translation>
    </message>
    <message>
        <source>Open folder</source>
        <translation>打开文件夹</translation>
    </message>
    <message>
        <source>No transfers yet</source>
        <translation>还没有传输</translation>
    </message>
    <message>
        <source>Retry</source>
        <translation>重试</translation>
    </message>
</context>
<context>
    <name>TransferTools</name>
    <message>
        <source>Name, node or state</source>
        <translation>名称、节点或状态</translation>
    </message>
    <message>
        <source>Filter transfers</source>
        <translation>筛选传输</translation>
    </message>
    <message>
        <source>Filter (Ctrl+F)</source>
        <translation>筛选（Ctrl+F）</translation>
    </message>
    <message>
        <source>Pause all</source>
        <translation>全部暂停</translation>
    </message>
    <message>
        <source>Resume all</source>
        <translation>全部继续</translation>
    </message>
    <message>
        <source>Retry failed</source>
        <translation>重试失败项</translation>
    </message>
    <message>
        <source>Clear failed</source>
        <translation>清除失败的传输</translation>
    </message>
    <message>
        <source>Clear finished</source>
        <translation>清除已结束的传输</translation>
    </message>
</context>
<context>
    <name>Transfers</name>
    <message>
        <source>{name} and {count} more</source>
        <translation>{name} 及另外 {count} 项</translation>
    </message>
    <message>
        <source>Sent</source>
        <translation>已发送</translation>
    </message>
    <message>
        <source>Received</source>
        <translation>已接收</translation>
    </message>
    <message>
        <source>pending</source>
        <translation>待定</translation>
    </message>
    <message>
        <source>{count} paused</source>
        <translation>{count} 个已暂停</translation>
    </message>
    <message>
        <source>Between other nodes</source>
        <translation>其他节点之间</translation>
    </message>
    <message>
        <source>Command after delivery: {what}</source>
        <translation>完成后的命令：{what}</translation>
    </message>
    <message>
        <source>{count} broken link</source>
        <translation>{count} 个链接失效</translation>
    </message>
    <message>
        <source>{count} broken links</source>
        <translation>{count} 个链接失效</translation>
    </message>
    <message>
        <source>Waiting for server</source>
        <translation>正在等待服务器</translation>
    </message>
    <message>
        <source>{count} failed</source>
        <translation>{count} 个失败</translation>
    </message>
    <message>
        <source>Next try in {count} s</source>
        <translation>{count} 秒后重试</translation>
    </message>
    <message>
        <source>Next try in {time}</source>
        <translation>{time} 后重试</translation>
    </message>
    <message>
        <source>Waiting</source>
        <translation>等待中</translation>
    </message>
    <message>
        <source>Preparing</source>
        <translation>正在准备</translation>
    </message>
    <message>
        <source>Sending</source>
        <translation>正在发送</translation>
    </message>
    <message>
        <source>Checking hash</source>
        <translation>正在校验</translation>
    </message>
    <message>
        <source>Paused</source>
        <translation>已暂停</translation>
    </message>
    <message>
        <source>Verified</source>
        <translation>已校验</translation>
    </message>
    <message>
        <source>Partly failed</source>
        <translation>部分失败</translation>
    </message>
    <message>
        <source>Failed</source>
        <translation>失败</translation>
    </message>
    <message>
        <source>Cancelled</source>
        <translation>已取消</translation>
    </message>
    <message>
        <source>{size} behind</source>
        <translation>落后 {size}</translation>
    </message>
    <message>
        <source>Receiving</source>
        <translation>正在接收</translation>
    </message>
    <message>
        <source>Already there</source>
        <translation>已存在</translation>
    </message>
    <message>
        <source>Same folder</source>
        <translation>共用文件夹</translation>
    </message>
    <message>
        <source>When back online</source>
        <translation>待其恢复后</translation>
    </message>
    <message>
        <source>files changed</source>
        <translation>文件已更改</translation>
    </message>
    <message>
        <source>attempt {number}</source>
        <translation>第 {number} 次尝试</translation>
    </message>
    <message>
        <source>{count} file</source>
        <translation>{count} 个文件</translation>
    </message>
    <message>
        <source>{count} files</source>
        <translation>{count} 个文件</translation>
    </message>
    <message>
        <source>Inboxes</source>
        <translation>收件箱</translation>
    </message>
</context>
<context>
    <name>TransfersCard</name>
    <message>
        <source>Transfers</source>
        <translation>传输</translation>
    </message>
    <message>
        <source>Throughput</source>
        <translation>吞吐量</translation>
    </message>
    <message>
        <source>Show nodes and recipients</source>
        <translation>重新显示节点和接收节点</translation>
    </message>
    <message>
        <source>Fill window</source>
        <translation>铺满窗口</translation>
    </message>
</context>
<context>
    <name>Tray</name>
    <message>
        <source>Open CastRay</source>
        <translation>打开 CastRay</translation>
    </message>
    <message>
        <source>Quit</source>
        <translation>退出</translation>
    </message>
</context>
<context>
    <name>Verify</name>
    <message>
        <source>Identical</source>
        <translation>内容相同</translation>
    </message>
    <message>
        <source>Different</source>
        <translation>不一致</translation>
    </message>
    <message>
        <source>Missing</source>
        <translation>缺失</translation>
    </message>
    <message>
        <source>Could not be read</source>
        <translation>无法读取</translation>
    </message>
    <message>
        <source> and {count} more</source>
        <translation> 等，另有 {count} 个</translation>
    </message>
    <message>
        <source>Verify again</source>
        <translation>重新校验</translation>
    </message>
    <message>
        <source>Node</source>
        <translation>节点</translation>
    </message>
    <message>
        <source>Result</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>Files</source>
        <translation>文件</translation>
    </message>
    <message>
        <source>Size</source>
        <translation>大小</translation>
    </message>
    <message>
        <source>Differences</source>
        <translation>不一致之处</translation>
    </message>
    <message>
        <source>Results</source>
        <translation>校验结果</translation>
    </message>
    <message>
        <source>Read progress</source>
        <translation>读取进度</translation>
    </message>
    <message>
        <source>All {count} nodes have identical files.</source>
        <translation>全部 {count} 个节点的内容一致。</translation>
    </message>
    <message>
        <source>{count} of {total} nodes differ from what was sent.</source>
        <translation>{total} 个节点中有 {count} 个与发送的内容不一致。</translation>
    </message>
    <message>
        <source>Hash</source>
        <translation>哈希</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>停止</translation>
    </message>
    <message>
        <source>Stopped before everything was read.</source>
        <translation>尚未全部读完就已停止。</translation>
    </message>
    <message>
        <source>Reading files back: {read} of {total}</source>
        <translation>正在读取文件：{read} / {total}</translation>
    </message>
    <message>
        <source>Reading files back: {read}</source>
        <translation>正在读取文件：{read}</translation>
    </message>
</context>
<context>
    <name>WelcomePage</name>
    <message>
        <source>Back to the nodes</source>
        <translation>返回节点</translation>
    </message>
    <message>
        <source>Choose a cluster to send to</source>
        <translation>选择要使用的集群</translation>
    </message>
    <message>
        <source>Your shared cluster is starting</source>
        <translation>正在启动共享集群</translation>
    </message>
    <message>
        <source>Your local cluster is starting</source>
        <translation>正在启动本地集群</translation>
    </message>
    <message>
        <source>Connecting to {target}</source>
        <translation>正在连接 {target}</translation>
    </message>
    <message>
        <source>Your computer uploads once, every node passes the data on, and every copy is verified by hash.</source>
        <translation>本机只上传一次，各节点依次接力，每份副本都经过哈希校验。</translation>
    </message>
    <message>
        <source>Prepare a driver</source>
        <translation>准备驱动进程</translation>
    </message>
    <message>
        <source>Join as a node</source>
        <translation>作为节点加入</translation>
    </message>
    <message>
        <source>Try again</source>
        <translation>重试</translation>
    </message>
</context>
<context>
    <name>units</name>
    <message>
        <source>, </source>
        <translation>、</translation>
    </message>
    <message>
        <source>{names} and {last}</source>
        <translation>{names}、{last}</translation>
    </message>
    <message>
        <source>just now</source>
        <translation>刚刚</translation>
    </message>
    <message>
        <source>{count} s ago</source>
        <translation>{count} 秒前</translation>
    </message>
    <message>
        <source>{count} min ago</source>
        <translation>{count} 分钟前</translation>
    </message>
    <message>
        <source>{count} h ago</source>
        <translation>{count} 小时前</translation>
    </message>
    <message>
        <source>{count} days ago</source>
        <translation>{count} 天前</translation>
    </message>
</context>
</TS>
